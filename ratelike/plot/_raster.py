"""Spikes of recorded neurons."""

import itertools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Integer
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ratelike import _validation as validation
from ratelike._simulate import Trajectory
from ratelike.plot._style import drawing_on, population_colors
from ratelike.plot._traces import check_trajectory


def raster(trajectory: Trajectory, layer: int, *, ax: Axes | None = None) -> Axes:
    """A mark for each spike of the neurons that `simulate(..., record={layer: neurons})` kept, against time in ms.

    Rows are in the order of the recording. A spike of step n is drawn at the middle of the step. Named populations
    (`Layer.populations`) have a colour each, and their names stand beside their rows.

    Raises `ValueError` if the layer was not recorded, and for rates, which are no spikes.
    """
    check_trajectory("trajectory", trajectory)
    layer = validation.count("layer", layer, at_least=0)
    if layer not in trajectory.recordings:
        recorded = sorted(trajectory.recordings)
        raise ValueError(
            f"layer must be one of the recorded ones, {recorded} (simulate(..., record={{{layer}: neurons}}) keeps it), "
            f"got {layer}"
        )
    recording = trajectory.recordings[layer]
    activity = np.asarray(recording.activity)
    if not np.all((activity == 0.0) | (activity == 1.0)):
        raise ValueError(
            "trajectory must be one of Spiking(), whose activity is 0 or 1 in each step, got expected activities up to "
            f"{activity.max():g}"
        )
    with drawing_on(ax) as ax:
        end = 1e3 * trajectory.times[-1]
        times = 1e3 * (trajectory.times - 0.5 * trajectory.grid.dt)
        neurons = np.asarray(recording.neurons)
        rows = np.arange(len(neurons))
        trains = [times[fired > 0.0] for fired in activity.T]
        names = _names(trajectory, layer, neurons)
        colors = population_colors(dict.fromkeys(names))
        ax.eventplot(
            trains,
            lineoffsets=rows.tolist(),
            linelengths=0.8,
            linewidths=1,
            colors=[colors[name] for name in names] if names else ["black"],
        )
        ax.set_xlim(0.0, end)
        ax.set_ylim(len(rows) - 0.5, -0.5)  # the first neuron on top
        if names:
            _name_rows(ax, names, colors)
        else:
            locator = MaxNLocator(nbins=8, integer=True)
            ticks = locator.tick_values(0, max(len(rows) - 1, 1))
            shown = [int(tick) for tick in ticks if tick in rows]
            ax.set_yticks(shown, [f"{neurons[tick]}" for tick in shown])
        ax.set_xlabel("time (ms)")
        ax.set_ylabel(f"neuron of layer {layer}")
    return ax


def _names(
    trajectory: Trajectory, layer: int, neurons: Integer[np.ndarray, " recorded"]
) -> list[str]:
    """The population of each row; none, where there are no names."""
    populations = trajectory.populations[layer] if trajectory.parts else {}
    return [
        name
        for neuron in neurons.tolist()
        for name, members in populations.items()
        if neuron in members
    ]


def _name_rows(ax: Axes, names: list[str], colors: Mapping[str, str]) -> None:
    """Each name once beside the rows that follow each other."""
    first, ticks, labels = 0, [], []
    for name, rows in itertools.groupby(names):
        number = len(list(rows))
        ticks.append(first + 0.5 * (number - 1))
        labels.append(name)
        first += number
    ax.set_yticks(ticks, labels)
    ax.tick_params(axis="y", length=0)
    for label, name in zip(ax.get_yticklabels(), labels, strict=True):
        label.set_color(colors[name])
