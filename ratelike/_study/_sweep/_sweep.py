"""The verb: run every cell of an experiment once, whatever happens in between."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import filelock
import jax
from jaxtyping import Array

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._conventional import ConventionalRate
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._dynamics._spiking import Spiking
from ratelike._network import Network
from ratelike._signal._drive import AbstractDrive
from ratelike._signal._grid import TimeGrid
from ratelike._study._convergence import _white_noise
from ratelike._study._sweep._environment import Device, environment, precision, setting
from ratelike._study._sweep._identity import identify
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
from ratelike._study._sweep._runner import Claim, Runner, kind_of


def sweep(
    make_network: Callable[..., Network],
    grid: TimeGrid,
    *,
    axes: Mapping[str, Any],
    trials: int,
    key: Array,
    folder: str | os.PathLike[str],
    burn_in: int = 0,
    budget: int | None = None,
    make_drive: Callable[[Network, Array], AbstractDrive] | None = None,
    generalised: AbstractDynamics | None = None,
    conventional: AbstractDynamics | None = None,
    measure: Measure | None = None,
    devices: Sequence[Device] | None = None,
    workers: int = 1,
    claim: Claim | None = None,
    version: str | int | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None,
) -> SweepResult:
    r"""Measures networks at every point of `axes`, `trials` times, in cells that are saved as they finish.

        result = rl.sweep(
            make_network, grid, axes={"num_neurons": [64, 128, 256], "num_latents": [4, 8]},
            trials=8, key=jax.random.key(0), folder="runs/latents", burn_in=400,
        )
        result.dataset().to_netcdf("latents.nc")

    `axes` maps parameters of `make_network(**parameters, key=key)` to their values: numbers, strings, or a dict of names to
    any other objects, {"neuron": {"SRM0": rl.SRM0(), "LNP": ...}}. A *cell* is one point of the axes and one seed block;
    block 0 of all points comes first.

    **What is measured.** By default the errors of the spiking network against the generalised and the conventional
    rate network, as in `convergence`, of which `burn_in`, `budget`, `make_drive`, `generalised` and `conventional` have their meaning:
    a cell of N neurons per layer holds budget // N trials, and `budget` is by default the largest of `num_neurons`. If `num_neurons`
    is the only axis, the numbers are those of `convergence`, bit for bit. Or what `measure(network, grid, key)`
    returns, a dict of arrays: one network and one trial for each cell.
    A trial depends on `key`, its point and its number alone: what else is swept does not matter.

    **Where it goes.** `folder` gets a manifest (configuration, its hash, versions, device) and a file for each finished
    cell (`numpy.load` opens it), written whole or not at all and checksummed. Calling again with the same arguments
    computes what is missing or damaged; `read_sweep(folder)` reads what there is. Another configuration is refused;
    different versions of packages give a warning.

    **What makes it another one.** The arguments above, and settings of JAX that change numbers (x64). A function of yours is its
    name, its source (comments aside), its defaults, and the data and functions it uses from outside: globals, what it
    closes over, and `own.helper` of a module of yours, wherever it was imported, followed in the same way. What
    is in site-packages, Python or ratelike is its name alone. *Not* covered: contents of files that are read, names made at run time
    (`getattr(own, "a" + b)`), modules that are handed from function to function, extensions in other languages, and an edit of a file
    that was imported before, until the process ends. For these, `version` is any text or number of yours: another one is another configuration.

    **How it runs.** `workers` cells at a time on each of `devices` (by default all of this process; results do not depend
    on it, if the devices are of one kind). Any number of processes, also on several hosts, may be started on one
    folder: each cell is claimed by a lock of the operating system (flock), which is free again at the moment its
    process is killed. If they do not see each other's locks (NFS mounted with `nolock`), a cell is computed twice, to the
    same numbers; `claim=functools.partial(filelock.SoftFileLease, lease_duration=60)` then claims by files and a heartbeat.
    All processes on a folder have to claim alike; another claim is refused. Ctrl-C finishes and saves the cells that run;
    kill -9 loses them and no others. `progress` wraps the iterable of unfinished cells: `ratelike.Progress()`, or `tqdm.tqdm`.

    A shape of arrays that is new (another N, p or depth) compiles; making the networks compiles at each point.

    Raises `ValueError` for bad arguments before anything compiles, and for a folder that holds another sweep;
    `RuntimeError` if an error is not finite. An exception in a cell ends the sweep after the cells that run; its note names the cell.
    """
    validation.instance("grid", grid, TimeGrid)
    key = validation.typed_key("key", key)
    trials = validation.count("trials", trials)
    swept = make_axes(axes)
    options = dict(
        burn_in=burn_in,
        budget=budget,
        make_drive=make_drive,
        generalised=generalised,
        conventional=conventional,
    )
    if measure is None:
        measurement, options = _errors(make_network, grid, swept, **options)
    else:
        measurement, options = _own(make_network, grid, measure, options)
    slots = _devices(devices) * validation.count("workers", workers)
    plan = make_plan(swept, trials)
    _check_callable("make_network", make_network)
    if progress is not None:
        _check_callable("progress", progress)
    if isinstance(version, bool) or not isinstance(version, str | int | None):
        raise ValueError(f"version must be a text or a whole number, got {version!r}")
    folder, claim = folder_of(folder), filelock.FileLock if claim is None else claim
    claimed = kind_of(claim, folder)
    check_parameters(make_network, plan[0])
    configuration = {
        "make_network": _identity("make_network", make_network),
        "axes": [_axis_identity(axis) for axis in swept],
        "trials": trials,
        "grid": identify(grid),
        "key": identify(key),
        **{name: _identity(name, option) for name, option in options.items()},
        "precision": precision(),
        "version": version,
    }
    measurement.check(plan[0], key)
    manifest = open_folder(folder, configuration, environment(slots[0]), claimed)
    runner = Runner(
        folder=folder,
        configuration=manifest["hash"],
        measure=measurement,
        key=key,
        slots=slots,
        claim=claim,
    )
    return SweepResult(tuple(runner.run(plan, progress)), manifest)


def _own(
    make_network, grid: TimeGrid, measure: Any, options: Mapping[str, Any]
) -> tuple[AbstractCellMeasure, dict[str, Any]]:
    """The user's measurement, and what identifies it."""
    for name, value in options.items():
        if value is not None and value != 0:
            raise ValueError(
                f"{name} must not be given beside measure, which does not use it, got {value!r}"
            )
    _check_callable("measure", measure)
    return MeasureNetwork(make_network, grid, measure), {"measure": measure}


def _errors(
    make_network,
    grid: TimeGrid,
    axes: Sequence[Axis],
    *,
    burn_in,
    budget,
    make_drive,
    generalised,
    conventional,
) -> tuple[AbstractCellMeasure, dict[str, Any]]:
    """The measurement of a convergence study, and what identifies it."""
    burn_in = validation.burn_in(burn_in, grid.num_steps)
    sizes = [axis.values for axis in axes if axis.name == "num_neurons"]
    largest = max(sizes[0]) if sizes else None
    if budget is not None:
        budget = validation.count("budget", budget)
        if largest is not None and budget < largest:
            raise ValueError(
                f"budget must be at least the largest num_neurons, {largest}, got {budget}"
            )
    dynamics = {
        "generalised": GeneralisedRate() if generalised is None else generalised,
        "conventional": ConventionalRate() if conventional is None else conventional,
    }
    for name, each in dynamics.items():
        validation.instance(name, each, AbstractDynamics)
    make_drive = _white_noise if make_drive is None else make_drive
    _check_callable("make_drive", make_drive)
    budget = largest if budget is None else budget
    measurement = MeasureConvergence(
        make_network, grid, (Spiking(), *dynamics.values()), make_drive, burn_in, budget
    )
    options = dict(burn_in=burn_in, budget=budget, make_drive=make_drive, **dynamics)
    return measurement, options


def _check_callable(name: str, value: Any) -> None:
    if not callable(value):
        raise ValueError(f"{name} must be a function, got {value!r}")


def _identity(name: str, value: Any) -> Any:
    try:
        return identify(value)
    except ValueError as error:
        way = ", ".join(getattr(error, "__notes__", ()))
        raise ValueError(
            f"{name} must be known again in a later run, but {error}{f' ({way})' if way else ''}"
        ) from None


def _axis_identity(axis: Axis) -> dict[str, Any]:
    identity: dict[str, Any] = {"name": axis.name, "labels": list(axis.labels)}
    if axis.named:
        identity["values"] = _identity(f"axes[{axis.name!r}]", axis.values)
    return identity


def _devices(devices: Sequence[Device] | None) -> list[Device]:
    if devices is None:
        # A caller's `jax.default_device` says where things run.
        chosen = setting("jax_default_device")
        if isinstance(chosen, str):  # the name of a platform
            return jax.local_devices(backend=chosen)[:1]
        return jax.local_devices() if chosen is None else [chosen]
    validation.instance("devices", devices, Sequence)
    if not devices:
        raise ValueError("devices must hold at least one device, got none")
    for device in devices:
        validation.instance("devices", device, Device)
    return list(devices)
