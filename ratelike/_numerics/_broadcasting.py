"""Arrays over neurons meet arrays over ages and neurons everywhere, whatever rule the caller keeps for arrays elsewhere."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def broadcasts(function: Callable[P, R]) -> Callable[P, R]:
    """The function under NumPy's rules of broadcasting: `jax_numpy_rank_promotion="raise"` then is for other arrays."""

    @functools.wraps(function)
    def with_rules(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.numpy_rank_promotion("allow"):
            return function(*args, **kwargs)

    return with_rules
