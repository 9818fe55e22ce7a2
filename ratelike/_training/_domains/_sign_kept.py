"""Numbers that keep their sign."""

import jax.numpy as jnp
from jaxtyping import Array

from ratelike._training._domains._base import AbstractDomain
from ratelike._training._domains._relative import scaled
from ratelike._types import PyTree


class SignKept(AbstractDomain):
    """Each entry keeps the sign that it has at the start, and zeros stay: start exp(x), with x = 0 at the start.

    For Dale's law, and for sparse connections. Steps are relative, as those of `Positive`.
    """

    trained: PyTree

    def check(self, name: str, start: Array) -> None:
        pass

    def initial(self, start: Array) -> Array:
        return jnp.zeros_like(start)

    def value(self, start: Array, x: Array) -> Array:
        size = jnp.where(start == 0.0, 1.0, jnp.abs(start))
        return jnp.sign(start) * scaled(size, x)
