"""Time in blocks of steps."""

import math

import jax.numpy as jnp
from jaxtyping import Array


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
