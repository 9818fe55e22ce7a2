"""Outputs over time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ratelike import _validation as validation
from ratelike._dynamics._trajectory import Trajectory
from ratelike.plot._style import COLORS, drawing_on, in_unit, line_colors


def traces(
    trajectories: Mapping[str, Trajectory],
    *,
    latent: int = 0,
    start: float = 0.0,
    unit: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The membrane of output unit `latent` in each of the named trajectories, from `start` (s) on, against time in ms.

    Names are what the legend says; a dynamics that a name begins with has its colour. The first trajectory is drawn
    broad behind the others, as the spiking network is in the library's figures, and grey where its name says nothing
    else. An output is read at the end of its step, and drawn there. `unit` is that of the outputs, for the label: "s.d.
    of input" where the input is white noise of variance 1 and layers hand that on.

    Raises `ValueError` for no trajectories, a batch of them, and a latent or a time that one of them does not have.
    """
    validation.instance("trajectories", trajectories, Mapping)
    if not trajectories:
        raise ValueError("trajectories must name at least one trajectory, got none")
    latent = validation.count("latent", latent, at_least=0)
    start = validation.number("start", start)
    for name, trajectory in trajectories.items():
        check_trajectory(f"trajectories[{name!r}]", trajectory)
        latents = trajectory.outputs.shape[1]
        if latent >= latents:
            raise ValueError(
                f"latent must be less than the {latents} output units of {name!r}, got {latent}"
            )
        if start >= float(trajectory.times[-1]):
            raise ValueError(
                f"start must be before the end of {name!r} at {float(trajectory.times[-1]):g} s, got {start:g} s"
            )
    with drawing_on(ax) as ax:
        names = list(trajectories)
        colors = line_colors(names)
        if not names[0].startswith(tuple(COLORS)):
            colors = [COLORS["spiking"], *line_colors(names[1:])]
        for index, (name, trajectory) in enumerate(trajectories.items()):
            times = np.asarray(trajectory.times)
            shown = times > start
            ax.plot(
                1e3 * times[shown],
                np.asarray(trajectory.outputs)[shown, latent],
                color=colors[index],
                linewidth=1.3 if index else 2.4,
                label=name,
            )
        ax.margins(x=0.01)
        ax.set_xlabel("time (ms)")
        ax.set_ylabel(f"membrane $y_{{{latent + 1}}}${in_unit(unit)}")
        above: dict[str, Any] = dict(
            loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2
        )
        ax.legend(**above, ncols=3, handlelength=1.4, columnspacing=1.3)
    return ax


def check_trajectory(name: str, trajectory: Trajectory) -> None:
    validation.instance(name, trajectory, Trajectory)
    if np.ndim(trajectory.outputs) != 2:
        raise ValueError(
            f"{name} must be one trajectory, got a batch with outputs of shape {np.shape(trajectory.outputs)}"
        )
