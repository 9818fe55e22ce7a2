"""Numbers above zero."""

import jax.numpy as jnp
from jaxtyping import Array

from ratelike import _validation as validation
from ratelike._training._domains._base import AbstractDomain
from ratelike._training._domains._relative import scaled
from ratelike._types import PyTree


class Positive(AbstractDomain):
    """Positive numbers, such as a time constant, a rate or a width: start exp(x), with x = 0 at the start.

    So steps are relative, whatever the unit, and no step leaves the domain: a value that would under- or overflow stays
    near the smallest or largest normal number.
    """

    trained: PyTree

    def check(self, name: str, start: Array) -> None:
        validation.parameter(name, start, above=0.0)

    def initial(self, start: Array) -> Array:
        return jnp.zeros_like(start)

    def value(self, start: Array, x: Array) -> Array:
        return scaled(start, x)
