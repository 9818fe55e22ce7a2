"""Recorded spikes, in whatever form they come, as truth values on the grid."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ratelike import _validation as validation
from ratelike._population._spike_trains import BITS, SpikeTrains
from ratelike._signal._grid import TimeGrid
from ratelike._types import Numbers

# A 0/1 array (time, neurons), bits as `simulate` records them, or times in seconds of each neuron.
Recorded = Numbers | SpikeTrains | Sequence[Numbers]
# In steps. A time that is the beginning of a step up to rounding belongs to this step.
ROUNDING = 1e-6


def spikes_on_grid(
    spikes: Recorded, num_neurons: int, grid: TimeGrid
) -> Bool[np.ndarray, "time neurons"] | Bool[Array, "time neurons"]:
    """Raises `ValueError` for what is no record of so many neurons on this grid."""
    if isinstance(spikes, SpikeTrains):
        return _of_bits(spikes, num_neurons, grid)
    if isinstance(spikes, (np.ndarray, jax.Array)) and spikes.ndim == 2:
        return _of_array(spikes, num_neurons, grid)
    if isinstance(spikes, Sequence) and not isinstance(spikes, (str, bytes)):
        return _of_times(spikes, num_neurons, grid)
    raise ValueError(
        f"spikes must be an array (time, neurons) of 0 and 1, a ratelike.extend.SpikeTrains, or a list of the spike times "
        f"of each neuron, got {validation.shown(spikes)}"
    )


def _of_array(
    spikes: np.ndarray | Array, num_neurons: int, grid: TimeGrid
) -> Bool[np.ndarray, "time neurons"] | Bool[Array, "time neurons"]:
    validation.shape("spikes", spikes, (grid.num_steps, num_neurons))
    validation.bare("spikes", spikes)
    if not validation.is_concrete(spikes):
        return jnp.asarray(spikes).astype(bool)
    entries = np.asarray(spikes)
    is_number = entries.dtype == bool or np.issubdtype(entries.dtype, np.number)
    wrong = ~((entries == 0) | (entries == 1)) if is_number else np.ones_like(entries)
    if np.any(wrong):
        step, neuron = np.argwhere(wrong)[0]
        raise ValueError(
            f"spikes must be 0 or 1, since a neuron fires at most once in a step, got {entries[step, neuron]} for neuron "
            f"{neuron} in step {step}"
        )
    return entries.astype(bool)


def _of_bits(
    spikes: SpikeTrains, num_neurons: int, grid: TimeGrid
) -> Bool[np.ndarray, "time neurons"] | Bool[Array, "time neurons"]:
    own = spikes.grid
    same = own.num_steps == grid.num_steps and own.first_step == grid.first_step
    if not (same and np.isclose(own.dt, grid.dt, rtol=1e-9)):
        raise ValueError(
            f"spikes must be those of the grid {validation.shown(grid)}, got those of {validation.shown(own)}"
        )
    if not validation.is_concrete(spikes):
        validation.shape("spikes.neurons", spikes.neurons, (num_neurons,))
        places = jnp.arange(BITS, dtype=jnp.uint32)[None, :, None]
        bits = (spikes.words[:, None] >> places) & 1
        return (bits.reshape(-1, grid.num_steps)[:num_neurons] > 0).T
    activity = spikes.activity
    if not np.array_equal(np.asarray(spikes.neurons), np.arange(num_neurons)):
        raise ValueError(
            f"spikes must be those of all {num_neurons} neurons of the layer in their order, got those of "
            f"{validation.shown(np.asarray(spikes.neurons))}"
        )
    return activity


def _of_times(
    trains: Sequence[Any], num_neurons: int, grid: TimeGrid
) -> Bool[np.ndarray, "time neurons"]:
    if len(trains) != num_neurons:
        raise ValueError(
            f"spikes must hold the spike times of each of the {num_neurons} neurons, got {len(trains)} trains"
        )
    fired = np.zeros((grid.num_steps, num_neurons), bool)
    for neuron, train in enumerate(trains):
        name = f"spikes[{neuron}]"
        if np.size(train) == 0:
            continue
        validation.parameter(name, train)
        times = np.asarray(train, float)
        if times.ndim != 1:
            raise ValueError(
                f"{name} must be a list of times in seconds, got shape {times.shape}"
            )
        steps = _steps_of(name, times, grid)
        order = np.argsort(steps, kind="stable")
        twice = np.flatnonzero(np.diff(steps[order]) == 0)
        if len(twice) > 0:
            first, second = times[order[twice[0] : twice[0] + 2]]
            raise ValueError(
                f"{name} must not have two spikes in one step of {grid.dt:g} s, got {first:.9g} s and {second:.9g} s; "
                "take a shorter step"
            )
        fired[steps, neuron] = True
    return fired


def _steps_of(
    name: str, times: Float[np.ndarray, " spikes"], grid: TimeGrid
) -> np.ndarray:
    steps = np.floor(times / grid.dt + ROUNDING).astype(int) - grid.first_step
    off = (steps < 0) | (steps >= grid.num_steps)
    if np.any(off):
        raise ValueError(
            f"{name} must lie on the grid from {grid.times[0]:g} to {grid.times[-1]:g} s, got {times[off][0]:.9g} s"
        )
    return steps


def check_intervals(
    spikes: Bool[np.ndarray, "time neurons"],
    dead_time: Float[np.ndarray, " neurons"],
    grid: TimeGrid,
) -> None:
    """No neuron fires within its dead time, where the likelihood would be zero."""
    neurons, steps = np.nonzero(spikes.T)
    shortest = np.round(dead_time / grid.dt)
    same = np.diff(neurons) == 0
    bad = np.flatnonzero(same & (np.diff(steps) < shortest[neurons[1:]]))
    if len(bad) > 0:
        neuron = neurons[bad[0]]
        first, second = grid.times[steps[bad[0] : bad[0] + 2]]
        raise ValueError(
            f"spikes must keep the dead time of {dead_time[neuron]:g} s, without which their likelihood is zero, got spikes "
            f"of neuron {neuron} in the steps that begin at {first:.9g} s and {second:.9g} s"
        )
