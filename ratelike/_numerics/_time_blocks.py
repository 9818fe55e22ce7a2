"""Time in blocks of steps."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Integer


def root_block(num_steps: int) -> tuple[int, int]:
    """The number of blocks, and the steps of each: about the root of all steps."""
    block = math.isqrt(num_steps - 1) + 1
    return -(-num_steps // block), block


def in_blocks(values: Array, *shape: int) -> Array:
    """An array over time with the time axis cut into axes of `shape`, filled up with zeros at its end."""
    num_steps = 1
    for size in shape:
        num_steps *= size
    padding = [(0, num_steps - len(values))] + [(0, 0)] * (values.ndim - 1)
    return jnp.pad(values, padding).reshape(*shape, *values.shape[1:])


def in_time(blocks: Array, num_steps: int, axes: int = 2) -> Array:
    """The inverse: the first `axes` axes are one of time again, without what filled it up."""
    return blocks.reshape(-1, *blocks.shape[axes:])[:num_steps]


class Part(NamedTuple):
    """The steps of one block that belong to a run: so many from number `first` on."""

    first: Integer[Array, ""]
    length: Integer[Array, ""]

    def has(self, step: int | Integer[Array, "*steps"]) -> Bool[Array, "*steps"]:
        return (step >= self.first) & (step < self.first + self.length)


class Window(NamedTuple):
    """The steps of all blocks that belong to a run of `num_steps` steps, which begins in the step `first` of its first block."""

    first: Integer[Array, ""]
    num_steps: int

    def num_blocks(self, block: int) -> int:
        """Enough of them, wherever in the first one the run begins."""
        return -(-(self.num_steps + block - 1) // block)

    def part(self, number: Integer[Array, "*blocks"], block: int) -> Part:
        """That of the block of this number."""
        before = number * block
        first = jnp.clip(self.first - before, 0, block)
        end = jnp.clip(self.first + self.num_steps - before, 0, block)
        return Part(first, end - first)

    def in_blocks(self, values: Array, *shape: int) -> Array:
        """An array over the time of the run, as `in_blocks`, with zeros around it."""
        filled = jnp.zeros((math.prod(shape), *values.shape[1:]), values.dtype)
        filled = jax.lax.dynamic_update_slice_in_dim(filled, values, self.first, 0)
        return filled.reshape(*shape, *values.shape[1:])

    def in_time(self, blocks: Array, axes: int = 2) -> Array:
        """The inverse."""
        steps = blocks.reshape(-1, *blocks.shape[axes:])
        return jax.lax.dynamic_slice_in_dim(steps, self.first, self.num_steps, 0)
