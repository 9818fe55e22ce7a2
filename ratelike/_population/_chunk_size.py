"""How many numbers a chunk of a population may keep while it runs."""

import jax

from ratelike._numerics._tile_random import TILE

# Half of the second-level cache of a core, in float32.
IN_CACHE = 2**16
# On an accelerator chunks only bound the memory: 4 GiB in float32.
ON_ACCELERATOR = 2**30


# On a processor nothing is gained by more neurons than these.
LARGEST = 4096


def chunk_size(kept: int, passing: int = 0) -> int:
    """Neurons, `TILE` times a power of two.

    A neuron has numbers that are `kept` from step to step, and others that are `passing` and need not stay in cache:
    those of a group or a block of steps, with what reverse mode keeps of each on an accelerator.
    """
    on_cpu = jax.default_backend() == "cpu"
    neurons = IN_CACHE // kept if on_cpu else ON_ACCELERATOR // (kept + passing)
    size = TILE * 2 ** (max(1, neurons // TILE).bit_length() - 1)
    return min(size, LARGEST) if on_cpu else size
