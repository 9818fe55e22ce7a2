"""Some entries of an array."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Integer

from ratelike import _validation as validation
from ratelike._training._domains._base import AbstractDomain
from ratelike._training._domains._unconstrained import Unconstrained
from ratelike._types import PyTree


class Part(AbstractDomain):
    """Some entries of an array; the others stay as they are at the start.

    `index` is what would stand in brackets after a NumPy array: numbers, slices, lists of numbers, several of these in a
    tuple (`numpy.s_[:800, 0]`), or an array of truth values of the array's shape, which is a mask:

        where=lambda network: [
            rl.train.Part(network.layers[0].bias, slice(0, 800)),
            rl.train.Part(rl.train.SignKept(network.layers[0].encoder), mask),
        ]

    What is chosen may be in a domain of its own, as here. Several parts of an array may be trained, as long as they have
    no entry in common.

    Raises `ValueError` for what is no index; in `fit` for one that does not fit, chooses nothing or something twice.
    """

    trained: PyTree
    index: tuple[Any, ...]

    def __init__(self, trained: PyTree, index: Any) -> None:
        self.trained = trained
        items = index if isinstance(index, tuple) else (index,)
        self.index = tuple(_kept(item, index) for item in items)

    @property
    def domain(self) -> AbstractDomain:
        """That of the entries."""
        inner = self.trained
        return inner if isinstance(inner, AbstractDomain) else Unconstrained(None)

    def chosen(self, start: Array) -> Bool[np.ndarray, "..."]:
        """Which entries are trained. Raises `IndexError` for an index that does not fit."""
        numbers = np.arange(start.size).reshape(start.shape)[self._masks]
        unique = np.unique(numbers)
        if unique.size != np.size(numbers):
            raise IndexError("an entry is chosen twice")
        chosen = np.zeros(start.size, bool)
        chosen[unique] = True
        return chosen.reshape(start.shape)

    def check(self, name: str, start: Array) -> None:
        try:
            any_chosen = self.chosen(start).any()
        except IndexError as error:
            raise ValueError(
                f"Part.index must fit {name} of shape {start.shape}, got {error}"
            ) from None
        if not any_chosen:
            raise ValueError(
                f"Part.index must choose at least one entry of {name} of shape {start.shape}, got none"
            )
        self.domain.check(f"the part of {name}", start[self._index])

    def initial(self, start: Array) -> Array:
        return self.domain.initial(start[self._index])

    def value(self, start: Array, x: Array) -> Array:
        part = self.domain.value(start[self._index], x)
        return start.at[self._index].set(part)

    @property
    def _index(self) -> tuple[Any, ...]:
        return tuple(each for item in self.index for each in _entries(item))

    @property
    def _masks(self) -> tuple[Any, ...]:
        """The index with truth values as such, whose shape NumPy compares with that of an array."""
        return tuple(
            each
            for item in self.index
            for each in ([item.truth()] if isinstance(item, _Mask) else _entries(item))
        )


class _Slice(NamedTuple):
    start: int | None
    stop: int | None
    step: int | None


class _Mask(NamedTuple):
    """Truth values by the numbers of their entries, which may be traced."""

    numbers: tuple[Integer[Array, " entries"], ...]  # for each axis
    shape: tuple[int, ...]

    def truth(self) -> Bool[np.ndarray, "..."]:
        mask = np.zeros(self.shape, bool)
        mask[tuple(map(np.asarray, self.numbers))] = True
        return mask


def _entries(item: Any) -> tuple[Any, ...]:
    if isinstance(item, _Mask):
        return item.numbers
    return (slice(*item),) if isinstance(item, _Slice) else (item,)


def _kept(item: Any, given: Any) -> Any:
    """One entry of an index, as something that can be hashed or traced."""
    if isinstance(item, (_Slice, _Mask)):  # of another part, with the same index
        return item
    if isinstance(item, slice):
        ends = (item.start, item.stop, item.step)
        if all(end is None or isinstance(end, (int, np.integer)) for end in ends):
            return _Slice(*(None if end is None else int(end) for end in ends))
    elif item is Ellipsis:
        return item
    elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return int(item)
    elif isinstance(item, (Sequence, np.ndarray, Array)) and not isinstance(item, str):
        entries = np.asarray(item)
        if entries.dtype == bool and entries.ndim > 0:
            numbers = [jnp.asarray(each, jnp.int32) for each in np.nonzero(entries)]
            return _Mask(tuple(numbers), entries.shape)
        if np.issubdtype(entries.dtype, np.integer) and entries.ndim > 0:
            return jnp.asarray(entries, jnp.int32)
    raise ValueError(
        f"Part.index must be numbers, slices, lists of numbers or truth values, got {validation.shown(given)}"
    )
