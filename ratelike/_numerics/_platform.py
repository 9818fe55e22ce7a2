"""Where a program will run, as far as it makes a difference to how it is written."""

import jax

# A multiple of all numbers of entries that processors compute at once. What is left over at the end of an array XLA may
# round in another way: arrays of such lengths have the same bits in each entry, wherever it lies.
WHOLE_VECTORS = 64


def has_gpu() -> bool:
    """Whether programs run on a GPU unless they are told otherwise."""
    return jax.default_backend() == "gpu"
