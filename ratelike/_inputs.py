"""Checks of the arguments that all verbs share: a network, its input, a grid, a dynamics and a key."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._checked_record import Record, checked_record
from ratelike._network import AbstractLayer, Network, check_population
from ratelike._network._feedback import check_feedback
from ratelike._network._plausible_input import warn_of_input
from ratelike._neuron import check_neuron
from ratelike._population._record import Recorded
from ratelike._signal._drive import GridPath, Input, as_path
from ratelike._signal._grid import TimeGrid


class Inputs(NamedTuple):
    """What a run needs besides network, grid and dynamics, after all checks."""

    path: diffrax.AbstractPath[Any]
    key: Array | None
    recorded: dict[int, Recorded]  # by layer


def checked_inputs(
    network: Network,
    increments: Input,
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    *,
    key: Array | None = None,
    record: Mapping[int, Record] | None = None,
) -> Inputs:
    """Raises `ValueError` for arguments that are wrong by themselves or do not fit each other: see `simulate`."""
    if not isinstance(network, Network):
        raise ValueError(
            f"network must be a ratelike.Network, got {validation.shown(network)}"
        )
    if not isinstance(grid, TimeGrid):
        raise ValueError(
            f"grid must be a ratelike.TimeGrid, got {validation.shown(grid)}"
        )
    if not isinstance(dynamics, AbstractDynamics):
        raise ValueError(
            f"dynamics must be an instance such as ratelike.GeneralisedRate(), got {validation.shown(dynamics)}"
        )
    if dynamics.needs_key or key is not None:
        key = validation.typed_key("key", key)
    validation.finite_leaves("network", network)
    check_layers(network, grid, [dynamics])
    first = network.layers[0]
    path = checked_path(increments, grid, first.num_latents, first.dtype)
    chosen = checked_record(network, record, grid, dynamics)
    warn_of_input(network, path, grid)
    return Inputs(path, key, chosen)


def check_layers(
    network: Network, grid: TimeGrid, dynamics: Sequence[AbstractDynamics]
) -> None:
    """Every layer can be run on the grid, under each of the dynamics."""
    for index, layer in enumerate(network.layers):
        check_layer(f"network.layers[{index}]", layer, grid, dynamics)


def check_layer(
    name: str,
    layer: AbstractLayer,
    grid: TimeGrid,
    dynamics: Sequence[AbstractDynamics],
) -> None:
    """The layer can be run on the grid, under each of the dynamics."""
    check_neuron(f"{name}.neuron", layer.neuron, layer.num_neurons)
    check_feedback(f"{name}.feedback", layer.feedback, grid.dt)
    if layer.synapse is not None:
        layer.synapse.check(f"{name}.synapse", grid.dt)
    for each in dynamics:
        each.check(name, layer, grid)
        if each.needs_key:
            check_population(name, layer, "spikes")


def checked_path(
    drive: Any, grid: TimeGrid, num_latents: int, dtype: jnp.dtype
) -> diffrax.AbstractPath[Any]:
    """The input as a path that fits the grid and the latents."""
    path = as_path(drive, grid, num_latents, dtype)
    if isinstance(path, GridPath):
        own = path.grid
        same_step = math.isclose(own.dt, grid.dt, rel_tol=1e-9)
        same_steps = own.num_steps == grid.num_steps
        if not (same_step and same_steps and own.first_step == grid.first_step):
            raise ValueError(
                f"the GridPath given as increments must be made for the grid of {_steps(grid)}, got one for {_steps(own)}"
            )
        validation.shape("increments", path.values, (grid.num_steps, num_latents))
        validation.finite_leaves("increments", path.values)
        return GridPath(path.values.astype(dtype), grid)
    with jax.ensure_compile_time_eval():
        ends = path.t0, path.t1
    if validation.is_concrete(ends):
        start, end = map(float, ends)
        begin, last = grid.times[0], grid.times[-1]
        slack = 1e-6 * last
        if start > (begin + slack if begin > 0.0 else 0.0) or end < last - slack:
            raise ValueError(
                f"the path given as increments must cover the grid from {begin:g} to {last:g} s, got {start:g} to {end:g} s"
            )
    validation.finite_leaves("increments", path)
    times = [jnp.asarray(time, dtype) for time in grid.times[:2]]
    shape = jax.eval_shape(path.evaluate, *times).shape
    if shape != (num_latents,):
        raise ValueError(
            f"the path given as increments must have {num_latents} latents, got values of shape {shape}"
        )
    return path


def _steps(grid: TimeGrid) -> str:
    first = f" from step {grid.first_step} on" if grid.first_step else ""
    return f"{grid.num_steps} steps of {grid.dt:g} s{first}"
