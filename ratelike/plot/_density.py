"""The refractory density over time."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from ratelike import _validation as validation
from ratelike._density._state import RefractoryDensity
from ratelike.plot._style import drawing_on


def density(
    saved: tuple[Any, Any],
    *,
    age_step: float,
    neuron: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """q(t, a) of a layer, as colour over time and age in ms: the mean over neurons, or of one `neuron`.

        dynamics = rl.GeneralisedRate(saveat=diffrax.SaveAt(ts=times, fn=lambda t, density, args: density.age_distribution))
        trajectory = rl.simulate(network, drive, grid, dynamics)
        rl.plot.density(trajectory.saved[0], age_step=grid.dt)

    `saved` is a pair of times (s) and what was saved at them: a `RefractoryDensity` (the default of `SaveAt`) or its
    age distribution (time, ages, neurons), probabilities per age bin; the density at an instant is drawn about it. `age_step` is the width of a bin in seconds, dt with
    `AgeShift`, and the age in the first one. The last bin holds all older ages and is not drawn.

    Raises `ValueError` for fewer than two times or ages, times that do not increase, and a neuron that is not there.
    """
    times, bins, age_step = _checked(saved, age_step)
    if neuron is not None:
        neuron = validation.count("neuron", neuron, at_least=0)
        if neuron >= bins.shape[2]:
            raise ValueError(
                f"neuron must be less than the {bins.shape[2]} of the layer, got {neuron}"
            )
    shown = bins.mean(axis=2) if neuron is None else bins[:, :, neuron]
    ages = age_step * np.arange(1, shown.shape[1])
    with drawing_on(ax) as ax:
        mesh = ax.pcolormesh(
            1e3 * times, 1e3 * ages, shown[:, :-1].T / age_step,
            shading="nearest", vmin=0.0, rasterized=True,
        )  # fmt: skip
        bar = ax.figure.colorbar(mesh, ax=ax)
        bar.set_label("density $q$ (1/s)")
        ax.set_xlabel("time (ms)")
        ax.set_ylabel("age (ms)")
    return ax


def _checked(
    saved: Any, age_step: float
) -> tuple[Float[np.ndarray, " time"], Float[np.ndarray, "time ages neurons"], float]:
    """Times, probabilities per age bin, and the age step."""
    if not isinstance(saved, (tuple, list)) or len(saved) != 2:
        raise ValueError(
            f"saved must be a pair (times, densities) such as trajectory.saved[0], got {type(saved).__name__}; "
            "GeneralisedRate(saveat=...) saves one"
        )
    times, values = saved
    if isinstance(values, RefractoryDensity):
        values = values.age_distribution
    times, bins = np.asarray(times), np.asarray(values)
    validation.shape("saved[1]", bins, (len(times), "ages", "neurons"))
    if bins.shape[0] < 2 or bins.shape[1] < 2:
        raise ValueError(
            f"saved must hold at least two times and two ages, got shape {bins.shape}"
        )
    if not np.all(np.diff(times) > 0.0):
        raise ValueError(f"saved must hold increasing times, got {times}")
    return times, bins, validation.number("age_step", age_step, above=0.0)
