from pathlib import Path

import jax
import pytest

# Tests compare with analytic results: float64, and no silent change of type. The library itself sets neither.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Linux gives a process 65 530 maps of memory, of which each compiled program takes some; without any left it is aborted.
MAPS, MOST_MAPS = Path("/proc/self/maps"), 20_000


@pytest.fixture(autouse=True, scope="module")
def room_for_programs():
    yield
    if MAPS.exists() and len(MAPS.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()
