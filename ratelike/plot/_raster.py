"""Spikes of recorded neurons."""

import itertools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ratelike import _validation as validation
from ratelike._dynamics._trajectory import Trajectory
from ratelike.plot._style import drawing_on, population_colors
from ratelike.plot._traces import check_trajectory

# More rows than these are drawn as pixels: lines would be closer than a screen shows.
MOST_LINES = 500


def raster(trajectory: Trajectory, layer: int, *, ax: Axes | None = None) -> Axes:
    """A mark for each spike of the neurons that `simulate(..., record={layer: rl.Spikes()})` kept, against time in ms.

    A record of activity, `record={layer: neurons}`, serves as well. Rows are in the order of the record. A spike of step
    n is drawn at the middle of the step. Of more than 500 neurons spikes are pixels. Named populations
    (`Layer.populations`) have a colour each, and their names stand beside their rows.

    Raises `ValueError` if the layer was not recorded, and for rates, which are no spikes.
    """
    check_trajectory("trajectory", trajectory)
    layer = validation.count("layer", layer, at_least=0)
    trains = trajectory.spike_times(layer)
    kept = trajectory.spikes.get(layer) or trajectory.recordings[layer]
    neurons = np.asarray(kept.neurons)
    with drawing_on(ax) as ax:
        names = _names(trajectory, layer, neurons)
        colors = population_colors(dict.fromkeys(names))
        of_rows = [colors[name] for name in names]
        _draw(ax, [1e3 * train for train in trains], of_rows)
        begin, end = 1e3 * trajectory.grid.times[[0, -1]]
        ax.set_xlim(begin, end)
        rows = len(neurons)
        ax.set_ylim(rows - 0.5, -0.5)  # the first neuron on top
        if names:
            _name_rows(ax, names, colors)
        else:
            locator = MaxNLocator(nbins=8, integer=True)
            places = locator.tick_values(0, max(rows - 1, 1))
            ticks = [int(place) for place in places if 0 <= place < rows]
            ax.set_yticks(ticks, [f"{neurons[tick]}" for tick in ticks])
        ax.set_xlabel("time (ms)")
        ax.set_ylabel(f"neuron of layer {layer}")
    return ax


def _draw(
    ax: Axes, trains: list[Float[np.ndarray, " spikes"]], colors: list[str]
) -> None:
    """In rows from 0 on."""
    rows = np.arange(len(trains))
    if len(trains) <= MOST_LINES:
        ax.eventplot(
            trains,
            lineoffsets=rows.tolist(),
            linelengths=0.8,
            linewidths=1,
            colors=colors or ["black"],
        )
        return
    counts = np.asarray([len(train) for train in trains])
    of_rows = np.asarray(colors or ["black"] * len(trains))
    for color in np.unique(of_rows):
        own = np.flatnonzero(of_rows == color)
        ax.plot(
            np.concatenate([trains[row] for row in own]),
            np.repeat(rows[own], counts[own]),
            ",",
            color=str(color),
            rasterized=True,
        )


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
