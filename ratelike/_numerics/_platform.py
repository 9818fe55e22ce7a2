"""Where a program will run, as far as it makes a difference to how it is written."""

import jax


def has_gpu() -> bool:
    """Whether programs run on a GPU unless they are told otherwise."""
    return jax.default_backend() == "gpu"
