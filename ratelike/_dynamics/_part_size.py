"""How many numbers a part of a population may keep while it runs."""

import jax

from ratelike._random import TILE

# Half of the second-level cache of a core, in float32.
IN_CACHE = 2**16
# On an accelerator parts only bound the memory: 1 GiB in float32.
ON_ACCELERATOR = 2**28


# On a processor nothing is gained by more neurons than these.
LARGEST = 4096


def part_size(numbers_per_neuron: int) -> int:
    """Neurons, `TILE` times a power of two."""
    on_cpu = jax.default_backend() == "cpu"
    tiles = (IN_CACHE if on_cpu else ON_ACCELERATOR) // (numbers_per_neuron * TILE)
    size = TILE * 2 ** (max(1, tiles).bit_length() - 1)
    return min(size, LARGEST) if on_cpu else size
