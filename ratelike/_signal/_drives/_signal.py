"""A table of a signal, sampled in its own way."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._signal._drive import AbstractDrive
from ratelike._signal._drives._interpolation import (
    AbstractInterpolation,
    SampleAndHold,
)
from ratelike._signal._drives._labelled import Labelled, seconds, without_labels
from ratelike._signal._drives._step_sums import step_sums
from ratelike._signal._grid import TimeGrid
from ratelike._types import Numbers

# How much a table may end too early, of its length: times that were written in single precision.
SHORTFALL = 1e-6


class SignalDrive(AbstractDrive):
    r"""A table of the signal x(t) in units of the latents, of any sampling: dX[n] = int x dt over step n, exactly.

        table = np.loadtxt("current.csv", delimiter=",", skiprows=1)     # a column of seconds, one for each latent
        drive = rl.SignalDrive(table[:, 1:], times=table[:, 0], interpolation=rl.PiecewiseLinear())
        rl.simulate(network, drive, rl.TimeGrid(dt=0.2e-3, num_steps=5000), rl.GeneralisedRate())

    Under a constant x the potential settles at bias + E x. `values` is (time,) for one latent, or (time, latents): an
    array, a list, a Series or DataFrame of pandas, or a DataArray of xarray with a dimension `time`. Samples are `dt`
    seconds apart, the first one at t = 0, or at `times` in seconds that grow, evenly or not; otherwise `times` are the
    table's own index or coordinate, in seconds or time differences. An index that only counts rows is none.

    `interpolation` is what x is between samples: `SampleAndHold()`, the default, or `PiecewiseLinear()`. The last sample
    holds for as long as the interval before it, so that 1000 samples at 1 kHz last a second.

    Steps and samples need not meet. The increments are a linear map of `values`, by which they can be differentiated; the
    times are static, and kept in double precision.

    Raises `ValueError` for values or times that are not finite or carry a unit, times that do not grow, none or two kinds
    of times, and, on a grid, for a table that begins after the grid or ends before it.
    """

    values: Float[Array, "samples latents"]
    interpolation: AbstractInterpolation
    # Of all samples and of the end, as bytes of float64, which are compared and hashed fast.
    knots: bytes = eqx.field(static=True, repr=False)

    def __init__(
        self,
        values: Numbers | Labelled,
        *,
        dt: float | None = None,
        times: Numbers | Labelled | None = None,
        interpolation: AbstractInterpolation | None = None,
    ) -> None:
        entries, index = without_labels("SignalDrive.values", values)
        table = validation.signal("SignalDrive.values", entries)
        if table.ndim not in (1, 2) or table.size == 0:
            raise ValueError(
                f"SignalDrive.values must have shape (time,) or (time, latents), got shape {table.shape}"
            )
        self.values = table.reshape(len(table), -1)
        self.interpolation = SampleAndHold() if interpolation is None else interpolation
        validation.instance(
            "SignalDrive.interpolation", self.interpolation, AbstractInterpolation
        )
        self.knots = _knots(dt, times, index, len(table)).tobytes()

    @property
    def times(self) -> np.ndarray:
        """Of the samples, and of the end of the table: shape (samples + 1,), seconds in float64."""
        return np.frombuffer(self.knots)

    def increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        times = self.times
        begin, end = grid.times[0], grid.times[-1]
        slack = SHORTFALL * (times[-1] - times[0])
        if times[0] > begin + slack or times[-1] < end - slack:
            raise ValueError(
                f"the table of SignalDrive must cover the grid from {begin:g} to {end:g} s, got {times[0]:g} to "
                f"{times[-1]:g} s"
            )
        # Between the cuts nothing happens: neither a sample nor a step begins.
        inside = times[slice(*np.searchsorted(times, (begin, end)))]
        cuts = np.unique(np.concatenate([grid.times, inside]))
        cuts = cuts[(cuts >= begin) & (cuts <= end)]
        middle = 0.5 * (cuts[1:] + cuts[:-1])
        steps = np.searchsorted(grid.times, middle, side="right") - 1
        sample = np.searchsorted(times, middle, side="right") - 1
        sample = np.clip(sample, 0, len(self.values) - 1)
        share = self.interpolation.share(times, sample, cuts[:-1], cuts[1:])
        steps = np.repeat(steps, share.samples.shape[1])
        rows, weights = share.samples.ravel(), share.weights.ravel()
        sums = step_sums(steps, rows, weights, grid.num_steps, len(self.values))
        return sums.of(self.values)


def _knots(
    dt: Any, times: Any, index: Any, num_samples: int
) -> Float[np.ndarray, " times"]:
    """When samples begin, and when the last one ends."""
    if sum(each is not None for each in (dt, times, index)) != 1:
        own = "none" if index is None else "an index"
        raise ValueError(
            "SignalDrive.dt or SignalDrive.times must be given, and only one of them, unless the table has times of its "
            f"own (an index that counts rows does not count), got dt = {validation.shown(dt)}, times = "
            f"{validation.shown(times)} and {own} in the table"
        )
    if dt is not None:
        dt = validation.number("SignalDrive.dt", dt, above=0.0)
        return np.arange(num_samples + 1) * dt
    name = "SignalDrive.times" if index is None else "the index of SignalDrive.values"
    own = seconds(name, times if index is None else index)
    if len(own) != num_samples or num_samples < 2:
        raise ValueError(
            f"{name} must have one time for each of the {num_samples} samples, and at least two, got {len(own)}"
        )
    growing = np.diff(own) > 0.0
    if not growing.all():
        at = int(np.argmin(growing))
        raise ValueError(
            f"{name} must grow from sample to sample, got {own[at]:g} s and then {own[at + 1]:g} s at index {at + 1}"
        )
    return np.append(own, 2.0 * own[-1] - own[-2])
