import sys
from pathlib import Path

import jax
import pytest

from tests.quick import QUICK

# Tests compare with analytic results: float64, and no silent change of type or rank. The library itself sets none.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Linux gives a process 65 530 maps of memory, of which each compiled program takes some; without any left it is aborted.
MAPS, MOST_MAPS = Path("/proc/self/maps"), 20_000


@pytest.fixture(autouse=True, scope="module")
def room_for_programs():
    yield
    if MAPS.exists() and len(MAPS.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def pytest_collection_modifyitems(items):
    """Marks what `tests/quick.py` lists, of parameters the first case."""
    tests, begun = Path(__file__).parent, set()
    for item in items:
        file = item.path.relative_to(tests).as_posix()
        listed, name = QUICK.get(file, ""), item.originalname
        if listed is None or (name in listed.split() and (file, name) not in begun):
            begun.add((file, name))
            item.add_marker(pytest.mark.quick)


@pytest.fixture(scope="module")
def any_ranks():
    """For modules that call private functions, whose callers in the library let arrays of any rank meet."""
    with jax.numpy_rank_promotion("allow"):
        yield
