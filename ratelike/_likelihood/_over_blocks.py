"""Blocks of steps, one after the other, with their spikes given."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ratelike._estimator._given_spikes import History, course_of, never_fired
from ratelike._likelihood._recording import Recording
from ratelike._network import AbstractLayer
from ratelike._numerics._casting import cast_to
from ratelike._numerics._time_blocks import in_blocks
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._signal._synapse import through_synapse
from ratelike._types import PyTree

# Steps times neurons of a block: its arrays stay in cache, and no step costs more than a turn of a loop over steps.
AT_ONCE = 2**17

# Of dt rho, of whether each neuron fired, and of whether each step is to be counted.
OfBlock = Callable[[Array, Bool[Array, "steps neurons"], Bool[Array, " steps"]], Array]


def over_blocks(
    of_block: OfBlock,
    layer: AbstractLayer,
    recording: Recording,
    grid: TimeGrid,
    burn_in: int,
) -> Float[Array, "blocks *shape"]:
    """`of_block` of each block, which may be filled up with steps at the end of the last one.

    Reverse mode keeps what is carried from block to block, and the arrays of the block at hand.
    """
    layer = cast_to(layer, layer.dtype)
    population = layer.population()
    path, _ = through_synapse(layer.synapse, recording.path, grid, layer.dtype)
    increments = grid_increments(path, grid, layer.dtype)
    block = _steps_of_a_block(grid.num_steps, layer.num_neurons)
    count = -(-grid.num_steps // block)
    counted = jnp.arange(grid.num_steps) >= burn_in
    # Within a caller's jit spikes may be constants, whose ages XLA would compute while it compiles, slowly.
    spikes = jax.lax.optimization_barrier(recording.spikes)
    inputs = [in_blocks(each, count, block) for each in (increments, spikes, counted)]

    def one_block(history: History, inputs: list[Array]) -> tuple[History, PyTree]:
        increments, fired, counted = inputs
        activity = fired.astype(layer.dtype)
        course, after = course_of(population, history, increments, activity, grid.dt)
        return after, of_block(course.spent, fired, counted)

    # Inside a scan XLA cannot merge the two computations of a block, so the costly barrier against it is not needed.
    checkpointed: Any = jax.checkpoint(one_block, prevent_cse=False)
    start = never_fired(population, grid.dt)
    return jax.lax.scan(checkpointed, start, inputs)[1]


def _steps_of_a_block(num_steps: int, num_neurons: int) -> int:
    root = math.isqrt(num_steps - 1) + 1
    return min(num_steps, max(root, AT_ONCE // num_neurons))
