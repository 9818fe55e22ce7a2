"""The version of the library, which saved results name."""

__version__ = "0.2.0"
