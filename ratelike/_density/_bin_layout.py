"""How a kernel holds the age bins of its neurons: few as rows of their own, many as a tile."""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

# Within a kernel: an array (bins, neurons), or a list of rows.
Bins = Any

# More rows than these do not fit into the registers of a thread.
LARGEST_NUMBER_OF_ROWS = 32
LARGEST_NUMBER_OF_BINS = 1024
BINS_OF_A_WARP = 64


class InRows(NamedTuple):
    """A list of rows: each thread has all bins of its neuron, and all that is done with them is written out."""

    neurons_each: int = 32
    warps: int = 1

    def filled(self, bins: Array | None, axis: int = 0) -> Array | None:
        return bins

    def slots(self, bins: Bins) -> Bins:
        return list(range(len(bins)))

    def column(self, values: Bins) -> Bins:
        """What does not depend on the neuron."""
        return values

    def each(self, function: Callable[..., Any], *bins: Bins) -> Any:
        """The function of each bin, or several of them."""
        found = [function(*rows) for rows in zip(*bins, strict=True)]
        if isinstance(found[0], tuple):
            return tuple(map(list, zip(*found, strict=True)))
        return found

    def total(self, bins: Bins) -> Array:
        return functools.reduce(operator.add, bins)


class InTile(NamedTuple):
    """An array (bins, neurons), filled up to a power of two with empty bins and shared out among the threads."""

    warps: int
    neurons_each: int = 16

    def filled(self, bins: Array | None, axis: int = 0) -> Array | None:
        if bins is None:
            return None
        padding = [(0, 0)] * bins.ndim
        size = bins.shape[axis]
        padding[axis] = (0, power_of_two(size) - size)
        return jnp.pad(bins, padding)

    def slots(self, bins: Bins) -> Bins:
        return jnp.arange(len(bins), dtype=jnp.int32)[:, None]

    def column(self, values: Bins) -> Bins:
        return values[:, None]

    def each(self, function: Callable[..., Any], *bins: Bins) -> Any:
        return function(*bins)

    def total(self, bins: Bins) -> Array:
        return jnp.sum(bins, axis=0)


BinLayout = InRows | InTile


def layout_of(num_bins: int) -> BinLayout | None:
    """None for one bin, which is no density over ages, and for too many."""
    if not 1 < num_bins <= LARGEST_NUMBER_OF_BINS:
        return None
    if num_bins <= LARGEST_NUMBER_OF_ROWS:
        return InRows()
    return InTile(warps=max(1, power_of_two(num_bins) // BINS_OF_A_WARP))


def power_of_two(number: int) -> int:
    """The smallest one that is not smaller."""
    return 1 << (number - 1).bit_length()
