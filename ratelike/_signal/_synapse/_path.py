"""Paths through a synapse."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jax.typing import DTypeLike

from ratelike._signal._drive import GridPath, grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._signal._synapse._base import AbstractSynapse
from ratelike._types import PyTree


def through_synapse(
    synapse: AbstractSynapse | None,
    path: diffrax.AbstractPath[Any],
    grid: TimeGrid,
    dtype: DTypeLike,
    state: PyTree = None,
) -> tuple[diffrax.AbstractPath[Any], PyTree]:
    """What comes out on the grid, and the state at its end; `state` is that at its beginning, by default at rest.

    Of a path that is not of increments on the grid, the signal is taken to be constant within each step.
    """
    if synapse is None:
        return path, None
    increments = grid_increments(path, grid, dtype)
    if state is None:
        state = synapse.initial(increments.shape[1:], increments.dtype, grid.dt)
    state, increments = synapse(state, increments, grid.dt)
    zeros = GridPath(jnp.zeros_like(increments), grid)
    return eqx.tree_at(lambda path: path.values, zeros, increments), state
