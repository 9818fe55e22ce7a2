"""Spikes of recorded neurons."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ratelike import _validation as validation
from ratelike._simulate import Trajectory
from ratelike.plot._style import drawing_on
from ratelike.plot._traces import check_trajectory

# More rows than these are drawn as pixels: lines would be closer than a screen shows.
MOST_LINES = 500


def raster(trajectory: Trajectory, layer: int, *, ax: Axes | None = None) -> Axes:
    """A mark for each spike of the neurons that `simulate(..., record={layer: rl.Spikes()})` kept, against time in ms.

    A record of activity, `record={layer: neurons}`, serves as well. Rows are in the order of the record. A spike of step
    n is drawn at the middle of the step. Of more than 500 neurons spikes are pixels.

    Raises `ValueError` if the layer was not recorded, and for rates, which are no spikes.
    """
    check_trajectory("trajectory", trajectory)
    layer = validation.count("layer", layer, at_least=0)
    trains = trajectory.spike_times(layer)
    kept = trajectory.spikes.get(layer) or trajectory.recordings[layer]
    neurons = np.asarray(kept.neurons)
    with drawing_on(ax) as ax:
        _draw(ax, [1e3 * train for train in trains])
        begin, end = 1e3 * trajectory.grid.times[[0, -1]]
        ax.set_xlim(begin, end)
        rows = len(neurons)
        ax.set_ylim(rows - 0.5, -0.5)  # the first neuron on top
        locator = MaxNLocator(nbins=8, integer=True)
        places = locator.tick_values(0, max(rows - 1, 1))
        ticks = [int(place) for place in places if 0 <= place < rows]
        ax.set_yticks(ticks, [f"{neurons[tick]}" for tick in ticks])
        ax.set_xlabel("time (ms)")
        ax.set_ylabel(f"neuron of layer {layer}")
    return ax


def _draw(ax: Axes, trains: list[Float[np.ndarray, " spikes"]]) -> None:
    """In rows from 0 on."""
    rows = np.arange(len(trains))
    if len(trains) <= MOST_LINES:
        ax.eventplot(
            trains,
            lineoffsets=rows.tolist(),
            linelengths=0.8,
            linewidths=1,
            color="black",
        )
        return
    counts = [len(train) for train in trains]
    ax.plot(
        np.concatenate(trains),
        np.repeat(rows, counts),
        ",",
        color="black",
        rasterized=True,
    )
