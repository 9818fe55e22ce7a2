"""Numbers in an interval."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._training._domains._base import AbstractDomain
from ratelike._types import Numbers, PyTree


class Between(AbstractDomain):
    r"""Numbers from `low` to `high`, which are numbers, or arrays that broadcast to what is trained:

        low + (high - low) sigma(logit(p) + x),      p = (start - low) / (high - low),  x = 0 at the start.

    Steps are relative to the nearer border, which no step crosses; by rounding a value may lie on it.

    Raises `ValueError` unless `low` < `high`, and in `fit` unless all of what is trained lies between them at the start.
    """

    trained: PyTree
    low: Float[Array, "..."]
    high: Float[Array, "..."]

    def __init__(self, trained: PyTree, low: Numbers, high: Numbers) -> None:
        self.trained = trained
        self.low = validation.parameter("Between.low", low)
        self.high = validation.parameter("Between.high", high)
        if not bool(jnp.all(self.low < self.high)):
            raise ValueError(
                f"Between.high must be greater than low, got {validation.shown(high)} and {validation.shown(low)}"
            )

    def check(self, name: str, start: Array) -> None:
        for border, value in (("low", self.low), ("high", self.high)):
            fits = value.ndim <= start.ndim and all(
                size in (1, of_start)
                for size, of_start in zip(
                    value.shape[::-1], start.shape[::-1], strict=False
                )
            )
            if not fits:
                raise ValueError(
                    f"Between.{border} must broadcast to the shape {start.shape} of {name}, got shape {value.shape}"
                )
        low, high = self._borders(start)
        inside = (low < start) & (start < high)
        if not bool(jnp.all(inside)):
            wrong = start[~inside][0]
            raise ValueError(
                f"{name} must lie between low and high of ratelike.train.Between, and not on them, got {wrong}"
            )

    def initial(self, start: Array) -> Array:
        return jnp.zeros_like(start)

    def value(self, start: Array, x: Array) -> Array:
        low, high = self._borders(start)
        length = high - low
        place = jnp.log(start - low) - jnp.log(high - start)
        # As a change of the start, which is the value at x = 0 to the last bit.
        change = length * (jax.nn.sigmoid(place + x) - jax.nn.sigmoid(place))
        return jnp.clip(start + change, low, high)

    def _borders(self, start: Array) -> tuple[Array, Array]:
        low, high = self.low.astype(start.dtype), self.high.astype(start.dtype)
        return jnp.broadcast_to(low, start.shape), jnp.broadcast_to(high, start.shape)
