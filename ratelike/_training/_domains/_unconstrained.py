"""No domain."""

from jaxtyping import Array

from ratelike._training._domains._base import AbstractDomain
from ratelike._types import PyTree


class Unconstrained(AbstractDomain):
    """Any number: x itself."""

    trained: PyTree

    def check(self, name: str, start: Array) -> None:
        pass

    def initial(self, start: Array) -> Array:
        return start

    def value(self, start: Array, x: Array) -> Array:
        return x
