"""What `fit` asks of a domain."""

import abc

import equinox as eqx
from jaxtyping import Array

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
