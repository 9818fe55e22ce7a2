"""The verb: run every cell of an experiment once, whatever happens in between."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import filelock
import jax
from jaxtyping import Array

from ratelike import _validation as validation
from ratelike._network import Network
from ratelike._population._host_threads import num_cores
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid
from ratelike._study._compared_dynamics import ComparedDynamics
from ratelike._study._study import checked_study
from ratelike._study._sweep._description import describe
from ratelike._study._sweep._environment import Device, environment, precision, setting
from ratelike._study._sweep._execution import SweepExecution
from ratelike._study._sweep._extension import Asked, begin, hash_of_cells
from ratelike._study._sweep._manifest import folder_of, open_folder
from ratelike._study._sweep._measure import (
    AbstractCellMeasure,
    Measure,
    MeasureConvergence,
    MeasureNetwork,
    check_parameters,
)
from ratelike._study._sweep._plan import Axis, make_axes, make_plan
from ratelike._study._sweep._result import SweepResult
from ratelike._study._sweep._runner import Runner, kind_of


def sweep(
    make_network: Callable[..., Network],
    grid: TimeGrid,
    *,
    axes: Mapping[str, Any],
    num_trials: int,
    key: Array,
    folder: str | os.PathLike[str],
    burn_in: int = 0,
    make_drive: Callable[[Network, Array], Input] | None = None,
    dynamics: ComparedDynamics | None = None,
    measure: Measure | None = None,
    version: str | int | None = None,
    extend: bool = False,
    execution: SweepExecution | None = None,
) -> SweepResult:
    r"""Measures networks at every point of `axes`, `num_trials` times, in cells that are saved as they finish.

        result = rl.sweep(
            make_network, grid, axes={"num_neurons": [64, 128, 256], "num_latents": [4, 8]},
            num_trials=8, key=jax.random.key(0), folder="runs/latents", burn_in=400,
        )
        result.dataset().to_netcdf("latents.nc")

    `axes` maps parameters of `make_network(**parameters, key=key)` to their values: numbers, strings, or a dict of names to
    any other objects, {"neuron": {"SRM0": rl.SRM0(), "LNP": ...}}. A *cell* is one point of the axes and one seed block;
    block 0 of all points comes first.

    **What is measured.** By default the errors of the spiking network against the generalised and the conventional
    rate network, as in `convergence`, where `burn_in`, `make_drive` and `dynamics` are explained; a cell holds as many
    trials as there is room for in the budget. If `num_neurons` is the only axis, the numbers are those of `convergence`,
    bit for bit. Or what `measure(network, grid, key)` returns, a dict of arrays: one network and one trial for each cell.
    A trial depends on `key`, its point and its number alone: what else is swept does not matter.

    **Where it goes.** `folder` gets a manifest (configuration, its hash, versions, device) and a file for each finished
    cell (`numpy.load` opens it), written whole or not at all and checksummed. Calling again with the same arguments
    computes what is missing or damaged; `read_sweep(folder)` reads what there is. Another configuration is refused;
    different versions of packages give a warning.

    **More of it.** With `extend=True` a folder may be asked for more than it was begun with, and keeps what is finished:
    a larger `num_trials`, more values of any axis, sizes included. Nothing else may change, and nothing may be missing. What
    is measured is what a new folder would hold, bit for bit; the budget stays that of the beginning (give it to a new folder,
    `SweepExecution(budget=...)`, for as many trials of small networks). Processes that run the smaller sweep may go on
    meanwhile. In a new folder `extend` changes nothing, so that it may stay in a script.

        rl.sweep(make_network, grid, axes={"num_neurons": [64, 128, 256, 512], "num_latents": [2, 4, 8]},
                 num_trials=16, key=jax.random.key(0), folder="runs/latents", burn_in=400, extend=True)

    **What makes it another one.** All arguments but `folder` and `execution`, the budget, and settings of JAX that
    change numbers (x64). A function of yours is its name, its source (comments aside), its defaults, and the data and
    functions it uses from outside: globals, what it closes over, and `own.helper` of a module of yours, wherever it was
    imported, described in the same way. What is in site-packages, Python or ratelike is its name alone. *Not* covered:
    contents of files that are read, names made at run time (`getattr(own, "a" + b)`), modules that are handed from
    function to function, extensions in other languages, and an edit of a file that was imported before, until the
    process ends. For these, `version` is any text or number of yours: another one is another configuration.

    **How it runs.** `execution=SweepExecution(workers=4, progress=rl.study.Progress())` says how many cells at a time, and on
    what devices. Any number of processes, also on several hosts, may be started on one folder: each cell is claimed by
    one of them. Ctrl-C finishes and saves the cells that run; kill -9 loses them and no others.

    A shape of arrays that is new (another N, p or depth) compiles; making the networks compiles at each point.

    Raises `ValueError` for bad arguments before anything compiles, and for a folder that holds another sweep;
    `RuntimeError` if an error is not finite. An exception in a cell ends the sweep after the cells that run; its note names the cell.
    """
    validation.function("make_network", make_network, "the axes and a key")
    validation.instance("grid", grid, TimeGrid)
    key = validation.typed_key("key", key)
    num_trials = validation.count("num_trials", num_trials)
    execution = SweepExecution() if execution is None else execution
    validation.instance("execution", execution, SweepExecution)
    if isinstance(version, bool) or not isinstance(version, str | int | None):
        raise ValueError(f"version must be a text or a whole number, got {version!r}")
    validation.instance("extend", extend, bool)
    swept = make_axes(axes)
    budget = execution.budget
    measurement: AbstractCellMeasure
    if measure is None:
        study = checked_study(make_network, grid, make_drive, dynamics)
        burn_in = validation.burn_in(burn_in, grid.num_steps)
        measurement = MeasureConvergence(study, burn_in, _budget(budget, swept))
    else:
        validation.function("measure", measure, "a network, a grid and a key")
        _refuse_beside_measure(burn_in, make_drive, dynamics, budget)
        measurement = MeasureNetwork(make_network, grid, measure)
    plan = make_plan(swept, num_trials)
    folder = folder_of(folder)
    claim = filelock.FileLock if execution.claim is None else execution.claim
    claimed = kind_of(claim, folder)
    check_parameters(make_network, plan[0])
    described = {
        "make_network": _described("make_network", make_network),
        "grid": describe(grid),
        "key": describe(key),
        **_described_options(measurement),
        "precision": precision(),
        "version": version,
    }

    def others(begun: Sequence[Axis]) -> dict[str, Any]:
        if measure is not None:
            return described
        return {**described, "budget": _budget(budget, begun)}

    asked = Asked(swept, num_trials, _described_axis, others)
    begin(asked)  # what cannot be described is refused before the folder is made
    measurement.check(plan[0], key)
    slots = _slots(execution, measure is None)
    manifest = open_folder(folder, asked, extend, environment(slots[0]), claimed)
    held = manifest["configuration"]
    if isinstance(measurement, MeasureConvergence):
        measurement = replace(measurement, budget=held["budget"])
    plan = make_plan(swept, num_trials, held.get("stages", ()))
    runner = Runner(folder, hash_of_cells(held), measurement, key, slots, claim)
    return SweepResult(tuple(runner.run(plan, execution.progress)), manifest)


def _budget(budget: int | None, axes: Sequence[Axis]) -> int | None:
    """By default the largest of the sizes that are swept; None if none are."""
    sizes = [axis.values for axis in axes if axis.name == "num_neurons"]
    largest = max(sizes[0]) if sizes else None
    return largest if budget is None else budget


def _refuse_beside_measure(
    burn_in: Any, make_drive: Any, dynamics: Any, budget: Any
) -> None:
    options = {
        "burn_in": burn_in or None,
        "make_drive": make_drive,
        "dynamics": dynamics,
        "execution.budget": budget,
    }
    for name, value in options.items():
        if value is not None:
            raise ValueError(
                f"{name} must not be given beside measure, which does not use it, got {validation.shown(value)}"
            )


def _described(name: str, value: Any) -> Any:
    try:
        return describe(value)
    except ValueError as error:
        way = ", ".join(getattr(error, "__notes__", ()))
        raise ValueError(
            f"{name} must be known again in a later run, but {error}{f' ({way})' if way else ''}"
        ) from None


def _described_options(measurement: AbstractCellMeasure) -> dict[str, Any]:
    options = measurement.options()
    return {name: _described(name, value) for name, value in options.items()}


def _described_axis(axis: Axis) -> dict[str, Any]:
    description: dict[str, Any] = {"name": axis.name, "labels": list(axis.labels)}
    if axis.named:
        description["values"] = _described(f"axes[{axis.name!r}]", axis.values)
    return description


def _slots(execution: SweepExecution, measures_cells: bool) -> list[Device]:
    """A device for each of the cells that run at the same time. A measure of the caller's own uses cores as it likes."""
    devices, workers = _devices(execution.devices), execution.workers
    if workers is None:
        alone = measures_cells and len(devices) == 1 and devices[0].platform == "cpu"
        workers = num_cores() if alone else 1
    return devices * workers


def _devices(devices: Sequence[Device] | None) -> list[Device]:
    """Those given, or the device of the caller's `jax.default_device`, or all local ones."""
    if devices is not None:
        return list(devices)
    chosen = setting("jax_default_device")
    if isinstance(chosen, str):  # the name of a platform
        return jax.local_devices(backend=chosen)[:1]
    return jax.local_devices() if chosen is None else [chosen]
