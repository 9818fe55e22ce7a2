"""Spikes of recorded neurons."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ratelike import _validation as validation
from ratelike._simulate import Trajectory
from ratelike.plot._style import drawing_on
from ratelike.plot._traces import check_trajectory


def raster(trajectory: Trajectory, layer: int, *, ax: Axes | None = None) -> Axes:
    """A mark for each spike of the neurons that `simulate(..., record={layer: neurons})` kept, against time in ms.

    Rows are in the order of the recording. A spike of step n is drawn at the middle of the step.

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
        ax.eventplot(
            trains,
            lineoffsets=rows.tolist(),
            linelengths=0.8,
            linewidths=1,
            color="black",
        )
        ax.set_xlim(0.0, end)
        ax.set_ylim(len(rows) - 0.5, -0.5)  # the first neuron on top
        locator = MaxNLocator(nbins=8, integer=True)
        ticks = [
            int(t) for t in locator.tick_values(0, max(len(rows) - 1, 1)) if t in rows
        ]
        ax.set_yticks(ticks, [f"{neurons[tick]}" for tick in ticks])
        ax.set_xlabel("time (ms)")
        ax.set_ylabel(f"neuron of layer {layer}")
    return ax
