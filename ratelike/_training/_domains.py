"""The values that what is trained may take."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ratelike import _validation as validation
from ratelike._types import PyTree


class AbstractDomain(eqx.Module):
    """Marks what is trained, within `where`, with the values that it may take.

    The optimiser moves a number x that may take any value; `value` is what the network gets.
    """

    trained: eqx.AbstractVar[PyTree]

    @abc.abstractmethod
    def check(self, name: str, start: Array) -> None:
        """Raises `ValueError` if `start` is not in the domain."""

    @abc.abstractmethod
    def initial(self, start: Array) -> Array:
        """The x at which the value is `start`."""

    @abc.abstractmethod
    def value(self, start: Array, x: Array) -> Array:
        """The value in the network."""


class Unconstrained(AbstractDomain):
    """Any number: x itself."""

    trained: PyTree

    def check(self, name: str, start: Array) -> None:
        pass

    def initial(self, start: Array) -> Array:
        return start

    def value(self, start: Array, x: Array) -> Array:
        return x


class Positive(AbstractDomain):
    """Positive numbers, such as a time constant, a rate or a width: start exp(x), with x = 0 at the start.

    So steps are relative, whatever the unit, and no step leaves the domain: a value that would under- or overflow stays
    at the smallest or largest normal number.
    """

    trained: PyTree

    def check(self, name: str, start: Array) -> None:
        validation.parameter(name, start, above=0.0)

    def initial(self, start: Array) -> Array:
        return jnp.zeros_like(start)

    def value(self, start: Array, x: Array) -> Array:
        limits = jnp.finfo(start.dtype)
        return jnp.clip(start * jnp.exp(x), limits.tiny, limits.max)
