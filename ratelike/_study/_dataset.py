"""Results as labelled arrays: xarray Datasets with named dimensions, units and attributes.

`dataset.to_netcdf(path)` writes them, `xarray.open_dataset(path)` reads them back. xarray and a netCDF backend are the
extra `io`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ratelike._dynamics._trajectory import Trajectory
from ratelike._io._units import AXIS_MEANINGS, CONVERGENCE_UNITS
from ratelike._io._version import __version__
from ratelike._io._xarray import Dataset, make_dataset
from ratelike._study._cell import Cell
from ratelike._study._result import Convergence
from ratelike._types import Numbers


def to_dataset(
    result: Convergence | Trajectory, attributes: Mapping[str, Any] | None = None
) -> Dataset:
    """A `Convergence` or one `Trajectory` as an `xarray.Dataset`, with `attributes` (a seed, say) added to its own.

    *Convergence*: errors and rates over (num_neurons, trial). Sizes may have different numbers of trials; `trials`
    holds them, and entries after the last are NaN. `from_dataset` returns the `Convergence`, bit for bit.

    *Trajectory*: `output` and `increment` over (layer,) time and latent, `rate` over layer and time; layers that hand on
    different numbers of latents, and the neurons recorded of a layer, get variables and dimensions of their own,
    `increment_0`, `potential_0`, `activity_0`. `time` is the end of each step, at which outputs are read; what belongs
    to a step as a whole is at `step_middle`, and recordings of several steps an entry at their own `time_0`. Spikes are
    rows (`spike_time_0`, `spike_step_0`, `spike_neuron_0`) over `spike_0`. What `GeneralisedRate(saveat=...)` saved is
    not included.

    Raises `ImportError` without xarray, `ValueError` for another type and for a batch of trajectories.
    """
    if isinstance(result, Convergence):
        variables, coordinates = _of_convergence(result)
    elif isinstance(result, Trajectory):
        variables, coordinates = _of_trajectory(result)
    else:
        raise ValueError(
            f"result must be a ratelike.study.Convergence or a ratelike.Trajectory, got {result!r}"
        )
    attributes = {"ratelike_version": __version__, **(attributes or {})}
    return make_dataset("study.to_dataset", variables, coordinates, attributes)


def from_dataset(dataset: Dataset) -> Convergence:
    """The `Convergence` in a Dataset of `to_dataset`, or in one point of a sweep: `dataset.sel(num_latents=4)`.

    Raises `ValueError` if variables are missing, or depend on more than `num_neurons` and `trial`.
    """
    missing = {"num_neurons", "trials", *CONVERGENCE_UNITS} - set(dataset.variables)
    if missing:
        raise ValueError(
            f"dataset must have the variables of a convergence study, got none called {', '.join(sorted(missing))}"
        )
    if "num_neurons" not in dataset.dims:  # one size was selected
        dataset = dataset.expand_dims("num_neurons")
    dataset = dataset.sortby("num_neurons")
    others = set(dataset["rate"].dims) - {"num_neurons", "trial"}
    if others:
        raise ValueError(
            f"dataset must be one point of its other dimensions, {', '.join(sorted(map(str, others)))}: select one, "
            "dataset.isel(...)"
        )
    curves = {
        name: dataset[name].transpose("num_neurons", "trial").to_numpy()
        for name in CONVERGENCE_UNITS
    }
    sizes = dataset["num_neurons"].to_numpy().tolist()
    counts = dataset["trials"].to_numpy().tolist()
    cells = []
    for i, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        if count > 0:
            generalised, conventional, rates = (
                values[i, :count] for values in curves.values()
            )
            cells.append(Cell(size, 0, generalised, conventional, rates))
    return Convergence.from_cells(cells)


def _of_convergence(result: Convergence) -> tuple[dict[str, Any], dict[str, Any]]:
    """Variables and coordinates."""
    curves = (result.generalised, result.conventional, result.rates)
    counts = [[len(values) for values in curve.values] for curve in curves]
    if any(curve.sizes != result.sizes for curve in curves) or any(
        count != counts[0] for count in counts
    ):
        raise ValueError(
            "result must have the same sizes and trials in its three curves, got "
            f"{[curve.sizes for curve in curves]} and {counts} trials"
        )
    variables = {}
    for (name, attributes), curve in zip(
        CONVERGENCE_UNITS.items(), curves, strict=True
    ):
        dtype = np.result_type(*curve.values)
        table = np.full((len(curve.sizes), max(counts[0])), np.nan, dtype)
        for row, values in zip(table, curve.values, strict=True):
            row[: len(values)] = values
        variables[name] = (("num_neurons", "trial"), table, dict(attributes))
    meaning = {"units": "1", "long_name": "number of trials"}
    variables["trials"] = ("num_neurons", counts[0], meaning)
    coordinates = {
        "num_neurons": (
            "num_neurons", list(result.sizes), dict(AXIS_MEANINGS["num_neurons"])
        ),
        "trial": ("trial", np.arange(max(counts[0]))),
    }  # fmt: skip
    return variables, coordinates


def _of_trajectory(result: Trajectory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Variables and coordinates."""
    _check_is_one(result)
    variables: dict[str, Any] = {}

    def add(
        name: str,
        dimensions: str | tuple[str, ...],
        values: Numbers,
        units: str,
        meaning: str,
    ) -> None:
        attributes = {"units": units, "long_name": meaning}
        variables[name] = (dimensions, np.asarray(values), attributes)

    add("output", ("time", "latent"), result.outputs, "1",
        "membrane trace of the output units after each step")  # fmt: skip
    meaning = "increments of the outgoing path in each step"
    if isinstance(result.increments, tuple):
        for layer, values in enumerate(result.increments):
            add(f"increment_{layer}", ("time", f"latent_{layer}"), values, "s",
                f"{meaning}, layer {layer}")  # fmt: skip
    else:
        add("increment", ("layer", "time", "latent"), result.increments, "s", meaning)
    add("rate", ("layer", "time"), result.rates, "Hz", "mean rate of the neurons")
    add("succeeded", "layer", result.succeeded, "1", "the solver reached the end")
    end = {"units": "s", "long_name": "time at the end of each step"}
    middle = {"units": "s", "long_name": "time at the middle of each step"}
    of_entry = {"units": "s", "long_name": "time at the middle of an entry's steps"}
    coordinates: dict[str, Any] = {
        "time": ("time", np.asarray(result.times), end),
        "step_middle": ("time", result.step_times, middle),
        "layer": ("layer", np.arange(len(result.rates))),
    }
    for layer, recording in result.recordings.items():
        neurons, time = f"neuron_{layer}", "time"
        coordinates[neurons] = (neurons, np.asarray(recording.neurons))
        if recording.every > 1:
            time = f"time_{layer}"
            coordinates[time] = (time, result.recording_times(layer), of_entry)
        add(f"potential_{layer}", (time, neurons), recording.potential,
            "potential", f"input potential that acts in each step, layer {layer}")  # fmt: skip
        add(f"activity_{layer}", (time, neurons), recording.activity, "1",
            f"spikes in each step, or their expected number, layer {layer}")  # fmt: skip
    for layer, spikes in result.spikes.items():
        for name, column in _of_spikes(result, layer).items():
            add(f"{name}_{layer}", f"spike_{layer}", *column)
        kept = f"spiking_neuron_{layer}"
        coordinates[kept] = (kept, np.asarray(spikes.neurons))
    return variables, coordinates


def _check_is_one(result: Trajectory) -> None:
    if np.ndim(result.outputs) != 2:
        raise ValueError(
            f"result must be one trajectory, got outputs of shape {np.shape(result.outputs)}; take one of a batch with "
            "jax.tree.map(lambda leaf: leaf[0], result)"
        )


def _of_spikes(
    result: Trajectory, layer: int
) -> dict[str, tuple[np.ndarray, str, str]]:
    """A row for each spike: values, units and meaning of the columns."""
    steps, neurons = result.spikes[layer].pairs
    of_spike = f"of a spike, layer {layer}"
    return {
        "spike_time": (result.step_times[steps], "s", f"middle of the step {of_spike}"),
        "spike_step": (steps, "1", f"step {of_spike}"),
        "spike_neuron": (neurons, "1", f"neuron {of_spike}"),
    }
