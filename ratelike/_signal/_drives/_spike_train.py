"""Input from spikes of neurons that are not part of the network."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._signal._drive import AbstractDrive
from ratelike._signal._drives._labelled import Labelled, seconds
from ratelike._signal._drives._step_sums import step_sums
from ratelike._signal._grid import TimeGrid
from ratelike._types import Numbers
from ratelike._validation._entries import as_numbers, check_entries

# Steps by which a time may fall short of a grid point that is meant: a product of a step and a whole number is rounded.
ROUNDING = 1e-6


class SpikeTrainDrive(AbstractDrive):
    r"""Given spikes: X(t) = sum of `weights[channel]` over all spikes until t, so that x(t) is a sum of delta pulses.

        times, channels = np.array([0.010, 0.0215, 0.030]), np.array([0, 1, 0])
        drive = rl.SpikeTrainDrive(times, channels, weights=[[5e-3, 0.0], [0.0, -5e-3]])      # (channels, latents)

    `times` (spikes,) are in seconds from the beginning of the run, in any order, and `channels` (spikes,) say which
    presynaptic neuron fired: 0, ..., number of rows of `weights` - 1. `weights` (channels, latents) are in units of the
    latents x seconds: the area of the pulse. A spike with the row w moves the potential by E w (1 - a)/dt, which is
    E w/tau_m for dt << tau_m, and the potential decays from there.

    A spike at time t belongs to the step with t_n <= t < t_{n+1}, also where t is n dt up to rounding; spikes before or after
    the grid do not count in it. The increments can be differentiated by `weights`; times and channels are static.

    Raises `ValueError` for times that are not finite, negative or carry a unit, channels that are not whole numbers or have
    no row in `weights`, different numbers of times and channels, and weights that are not finite.
    """

    weights: Float[Array, "channels latents"]
    # As bytes, in the order of time, which are compared and hashed fast.
    spike_times: bytes = eqx.field(static=True, repr=False)
    spike_channels: bytes = eqx.field(static=True, repr=False)

    def __init__(
        self,
        times: Numbers | Labelled,
        channels: Numbers | Labelled,
        weights: Numbers,
    ) -> None:
        self.weights = validation.parameter("SpikeTrainDrive.weights", weights)
        validation.shape(
            "SpikeTrainDrive.weights", self.weights, ("channels", "latents")
        )
        own = _times(times)
        of_spikes = _channels(channels, len(self.weights))
        validation.shape("SpikeTrainDrive.channels", of_spikes, own.shape)
        order = np.argsort(own, kind="stable")
        self.spike_times = own[order].tobytes()
        self.spike_channels = of_spikes[order].tobytes()

    @property
    def times(self) -> np.ndarray:
        """Of the spikes, in ascending order, in seconds."""
        return np.frombuffer(self.spike_times)

    @property
    def channels(self) -> np.ndarray:
        """Of the spikes, in the order of their times."""
        return np.frombuffer(self.spike_channels, np.int64)

    def increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        steps = np.floor(self.times / grid.dt + ROUNDING) - grid.first_step
        here = slice(*np.searchsorted(steps, (0, grid.num_steps)))
        steps = steps[here].astype(np.int64)
        ones, size = np.ones(len(steps)), len(self.weights)
        sums = step_sums(steps, self.channels[here], ones, grid.num_steps, size)
        return sums.of(self.weights)


def _times(times: Any) -> Float[np.ndarray, " spikes"]:
    name = "SpikeTrainDrive.times"
    if _is_empty_list(times):
        return np.zeros(0)
    own = seconds(name, times)
    if own.min() < 0.0:
        raise ValueError(f"{name} must be at least 0, got {own.min():g} s")
    return own


def _channels(channels: Any, num_channels: int) -> Integer[np.ndarray, " spikes"]:
    name = "SpikeTrainDrive.channels"
    if _is_empty_list(channels):
        return np.zeros(0, np.int64)
    validation.bare(name, channels)
    entries = as_numbers(name, channels)
    check_entries(name, entries, None, None)
    wrong = (entries != np.floor(entries)) | (entries < 0) | (entries >= num_channels)
    if entries.ndim != 1 or wrong.any():
        shown = entries[wrong][0] if wrong.any() else f"shape {entries.shape}"
        raise ValueError(
            f"{name} must be a list of whole numbers from 0 to {num_channels - 1}, rows of weights, got {shown}"
        )
    return entries.astype(np.int64)


def _is_empty_list(entries: Any) -> bool:
    """Nobody fired."""
    return getattr(entries, "shape", None) == (0,) or (
        isinstance(entries, (list, tuple)) and len(entries) == 0
    )
