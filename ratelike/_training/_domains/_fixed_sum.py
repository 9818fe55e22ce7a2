"""Numbers whose sum stays."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ratelike import _validation as validation
from ratelike._training._domains._base import AbstractDomain
from ratelike._types import PyTree


class FixedSum(AbstractDomain):
    """Numbers whose sum, over all of them or along `axis`, stays what it is at the start: start + x - mean(x), to rounding.

    Such as balanced decoders, sum_j D_j = 0, with which an output does not follow the mean rate. x = 0 at the start.

    Raises `ValueError` in `fit` for an axis that an array does not have, and for one number, which could not change.
    """

    trained: PyTree
    axis: int | None = eqx.field(static=True)

    def __init__(self, trained: PyTree, axis: int | None = None) -> None:
        self.trained = trained
        if axis is not None:
            own = -axis if isinstance(axis, int) and axis < 0 else axis
            validation.count("FixedSum.axis", own, at_least=0)
            axis = int(axis)
        self.axis = axis

    def check(self, name: str, start: Array) -> None:
        if self.axis is not None and not -start.ndim <= self.axis < start.ndim:
            raise ValueError(
                f"FixedSum.axis must be one of the {start.ndim} axes of {name}, got {self.axis}"
            )
        terms = start.size if self.axis is None else start.shape[self.axis]
        if terms < 2:
            raise ValueError(
                f"{name} must have at least two numbers in each sum that ratelike.train.FixedSum keeps, got {terms}"
            )

    def initial(self, start: Array) -> Array:
        return jnp.zeros_like(start)

    def value(self, start: Array, x: Array) -> Array:
        return start + (x - jnp.mean(x, axis=self.axis, keepdims=True))
