"""Checks of a layer, its input and its recorded spikes."""

from typing import Any, NamedTuple

import diffrax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ratelike import _validation as validation
from ratelike._dynamics._spiking import Spiking
from ratelike._inputs import check_layer, checked_path
from ratelike._likelihood._spike_record import (
    Recorded,
    check_intervals,
    spikes_on_grid,
)
from ratelike._network import AbstractLayer, Network
from ratelike._network._plausible_input import warn_of_input
from ratelike._neuron import AbstractNeuronModel
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid


class Recording(NamedTuple):
    """What was recorded, after all checks."""

    path: diffrax.AbstractPath[Any]
    spikes: Bool[Array, "time neurons"]


def checked_recording(
    layer: AbstractLayer, drive: Input, spikes: Recorded, grid: TimeGrid
) -> Recording:
    """Raises `ValueError` for arguments that are wrong by themselves or do not fit each other: see `log_likelihood`."""
    validation.instance("layer", layer, AbstractLayer)
    validation.instance("grid", grid, TimeGrid)
    validation.finite_leaves("layer", layer)
    check_layer("layer", layer, grid, [Spiking()])
    path = checked_path(drive, grid, layer.num_latents, layer.dtype)
    warn_of_input(Network([layer]), path, grid)
    fired = spikes_on_grid(spikes, layer.num_neurons, grid)
    if isinstance(fired, np.ndarray):
        dead_times = _dead_times(layer.neuron, layer.num_neurons)
        check_intervals(fired, dead_times, grid)
    return Recording(path, jnp.asarray(fired))


def _dead_times(
    neuron: AbstractNeuronModel, num_neurons: int
) -> Float[np.ndarray, " neurons"]:
    """Where they are traced, the shortest of all."""
    dead_times: Any = neuron.dead_time
    if not validation.is_concrete(dead_times):
        dead_times = neuron.shortest_dead_time
    return np.broadcast_to(np.asarray(dead_times, float), (num_neurons,))
