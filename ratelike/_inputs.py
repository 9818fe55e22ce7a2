"""Checks of the arguments that all verbs share: a network, its input, a grid, a dynamics and a key."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._network import Network, check_population
from ratelike._network._feedback import check_feedback
from ratelike._network._plausible_input import warn_of_input
from ratelike._neuron import check_neuron
from ratelike._signal._drive import GridPath, Input, as_path
from ratelike._signal._grid import TimeGrid


class Inputs(NamedTuple):
    """What a run needs besides network, grid and dynamics, after all checks."""

    path: diffrax.AbstractPath[Any]
    key: Array | None
    recorded: dict[int, Integer[Array, " recorded"]]  # neurons to record, by layer


def checked_inputs(
    network: Network,
    increments: Input,
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    *,
    key: Array | None = None,
    record: Mapping[int, Sequence[int]] | None = None,
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
    path = _checked_path(increments, grid, first.num_latents, first.dtype)
    chosen = _checked_record(network, record)
    warn_of_input(network, path, grid)
    return Inputs(path, key, chosen)


def check_layers(
    network: Network, grid: TimeGrid, dynamics: Sequence[AbstractDynamics]
) -> None:
    """Every layer can be run on the grid, under each of the dynamics."""
    for index, layer in enumerate(network.layers):
        name = f"network.layers[{index}]"
        check_neuron(f"{name}.neuron", layer.neuron, layer.num_neurons)
        check_feedback(f"{name}.feedback", layer.feedback, grid.dt)
        if layer.synapse is not None:
            layer.synapse.check(f"{name}.synapse", grid.dt)
        for each in dynamics:
            each.check(name, layer, grid)
            if each.needs_key:
                check_population(name, layer, "spikes")


def _checked_path(
    drive: Any, grid: TimeGrid, num_latents: int, dtype: jnp.dtype
) -> diffrax.AbstractPath[Any]:
    path = as_path(drive, grid, num_latents, dtype)
    if isinstance(path, GridPath):
        own = path.grid
        same_step = math.isclose(own.dt, grid.dt, rel_tol=1e-9)
        if not same_step or own.num_steps != grid.num_steps:
            raise ValueError(
                f"the GridPath given as increments must be made for the grid of {grid.num_steps} steps of {grid.dt:g} s, "
                f"got one for {own.num_steps} steps of {own.dt:g} s"
            )
        validation.shape("increments", path.values, (grid.num_steps, num_latents))
        validation.finite_leaves("increments", path.values)
        return GridPath(path.values.astype(dtype), grid)
    with jax.ensure_compile_time_eval():
        ends = path.t0, path.t1
    if validation.is_concrete(ends):
        start, end = map(float, ends)
        if start > 0.0 or end < grid.duration * (1.0 - 1e-6):
            raise ValueError(
                f"the path given as increments must cover the grid from 0 to {grid.duration:g} s, got {start:g} to {end:g} s"
            )
    validation.finite_leaves("increments", path)
    times = [jnp.asarray(time, dtype) for time in grid.times[:2]]
    shape = jax.eval_shape(path.evaluate, *times).shape
    if shape != (num_latents,):
        raise ValueError(
            f"the path given as increments must have {num_latents} latents, got values of shape {shape}"
        )
    return path


def _checked_record(
    network: Network, record: Mapping[int, Sequence[int]] | None
) -> dict[int, Integer[Array, " recorded"]]:
    chosen = {}
    record = {} if record is None else record
    validation.instance("record", record, Mapping)
    for layer, neurons in record.items():
        if not isinstance(layer, (int, np.integer)) or layer not in range(
            network.depth
        ):
            raise ValueError(
                f"record must name layers from 0 to {network.depth - 1}, got {validation.shown(layer)}"
            )
        indices = np.atleast_1d(np.asarray(neurons))
        size = network.layers[layer].num_neurons
        whole = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
        if not whole or np.any(indices < 0) or np.any(indices >= size):
            raise ValueError(
                f"record[{layer}] must list neurons from 0 to {size - 1}, got {validation.shown(neurons)}"
            )
        chosen[layer] = jnp.asarray(indices, dtype=jnp.int32)
    return chosen
