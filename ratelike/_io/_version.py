"""The version of the library, which saved results name."""

__version__ = "0.3.0.dev0"
