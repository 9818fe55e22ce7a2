"""Spikes and outputs in the types of other packages, which have the statistics: intervals, CV, Fano factors, tuning.

neo, pynapple and pandas are extras of the same names.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from ratelike import _validation as validation
from ratelike._dynamics._trajectory import Trajectory
from ratelike._io._extras import imported


def to_neo(trajectory: Trajectory, layer: int) -> list[Any]:
    """A `neo.SpikeTrain` for each recorded neuron of a layer, from the beginning of the run to its end, in seconds.

        trajectory = rl.simulate(network, drive, grid, rl.Spiking(), key=key, record={0: rl.Spikes()})
        trains = rl.study.to_neo(trajectory, 0)
        cvs = [elephant.statistics.cv(elephant.statistics.isi(train)) for train in trains]

    Each is annotated with its `layer` and `neuron`. A spike is at the middle of its step; `sampling_rate` is 1/dt.

    Raises `ImportError` without neo, and `ValueError` as `trajectory.spike_times` does.
    """
    neo = imported("neo", "study.to_neo")
    trains, neurons = _trains(trajectory, layer)
    begin, end = trajectory.grid.times[[0, -1]]
    quantities = imported("quantities", "study.to_neo")
    return [
        neo.SpikeTrain(
            times, units="s", t_start=begin, t_stop=end, name=f"neuron {neuron}",
            sampling_rate=1.0 / trajectory.grid.dt * quantities.Hz,
            layer=int(layer), neuron=int(neuron),
        )
        for times, neuron in zip(trains, neurons, strict=True)
    ]  # fmt: skip


def to_pynapple(trajectory: Trajectory, layer: int) -> Any:
    """The recorded neurons of a layer as a `pynapple.TsGroup`, whose index is the number of the neuron.

        group = rl.study.to_pynapple(trajectory, 0)
        counts = group.count(bin_size=0.1)

    Its time support is the run, from beginning to end, in seconds. A spike is at the middle of its step.

    Raises `ImportError` without pynapple, and `ValueError` for a neuron that was recorded twice, and as
    `trajectory.spike_times` does.
    """
    pynapple = imported("pynapple", "study.to_pynapple")
    trains, neurons = _trains(trajectory, layer)
    if len(np.unique(neurons)) < len(neurons):
        raise ValueError(
            f"the neurons recorded of layer {layer} must differ from each other, got {validation.shown(neurons)}"
        )
    begin, end = trajectory.grid.times[[0, -1]]
    support = pynapple.IntervalSet(start=begin, end=end)
    group = {
        int(neuron): pynapple.Ts(t=times, time_units="s", time_support=support)
        for times, neuron in zip(trains, neurons, strict=True)
    }
    return pynapple.TsGroup(group, time_support=support)


def to_dataframe(trajectory: Trajectory) -> Any:
    """The outputs as a `pandas.DataFrame`: a row for the end of each step, a column for each latent.

        rl.study.to_dataframe(trajectory).to_csv("outputs.csv")

    The index is the time in seconds at which the outputs are read. Rates and recordings belong to other times, the
    middles of steps: `to_dataset` has all. Spikes are a table by themselves:

        pandas.DataFrame(trajectory.spikes[0].pairs._asdict())

    Raises `ImportError` without pandas, and `ValueError` for a batch of trajectories.
    """
    pandas = imported("pandas", "study.to_dataframe")
    validation.instance("trajectory", trajectory, Trajectory)
    outputs = np.asarray(trajectory.outputs)
    validation.shape("trajectory.outputs", outputs, ("time", "latents"))
    index = pandas.Index(trajectory.times, name="time (s)")
    columns = pandas.RangeIndex(outputs.shape[1], name="latent")
    return pandas.DataFrame(outputs, index=index, columns=columns)


def _trains(
    trajectory: Trajectory, layer: int
) -> tuple[list[Float[np.ndarray, " spikes"]], Integer[np.ndarray, " recorded"]]:
    validation.instance("trajectory", trajectory, Trajectory)
    trains = trajectory.spike_times(layer)
    kept = trajectory.spikes.get(layer) or trajectory.recordings[layer]
    return trains, np.asarray(kept.neurons)
