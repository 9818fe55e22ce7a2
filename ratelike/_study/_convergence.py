"""Error against network size: spiking networks beside the rate networks of the same connectivity."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, PyTree

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._conventional import ConventionalRate
from ratelike._dynamics._finite import not_finite_error
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._dynamics._spiking import Spiking
from ratelike._inputs import check_layers
from ratelike._network import Network
from ratelike._network._packed import pack
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._tile_random import num_tiles
from ratelike._signal._drive import AbstractDrive, WienerDrive
from ratelike._signal._grid import TimeGrid
from ratelike._study._error_curve import ErrorCurve
from ratelike._study._progress import SideBySide
from ratelike._study._tiles import errors_of_tiles


class Cell(eqx.Module):
    """One finished part of a convergence study: some trials of one size."""

    size: int
    first_trial: int
    generalised: np.ndarray  # (trials,) error of each
    conventional: np.ndarray  # (trials,)
    rates: np.ndarray  # (trials,) mean rate of the spiking network in Hz
    neuron_steps: int = 0  # neurons of all layers and trials, times steps


class Convergence(eqx.Module):
    """Error of the spiking network against either rate network, for each size and trial."""

    generalised: ErrorCurve
    conventional: ErrorCurve
    rates: ErrorCurve  # mean rate of the spiking network in Hz, not an error

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.generalised.sizes


@broadcasts
def convergence(
    make_network: Callable[[int, Array], Network],
    sizes: Sequence[int],
    grid: TimeGrid,
    *,
    trials: int,
    enough_trials: int | None = None,
    key: Array,
    burn_in: int = 0,
    make_drive: Callable[[Network, Array], AbstractDrive] | None = None,
    generalised: AbstractDynamics | None = None,
    conventional: AbstractDynamics | None = None,
    budget: int | None = None,
    workers: int = 1,
    mesh: jax.sharding.Mesh | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None,
    on_cell: Callable[[Cell], None] | None = None,
) -> Convergence:
    r"""Mean absolute difference of the outputs, spiking against rate network, over network sizes.

    `make_network(num_neurons, key)` returns a network; it is vectorised with `jax.vmap` over keys. Each trial draws
    fresh connectivity, drive and spikes from a key of its own that depends on `key`, the size and the trial alone.

    Every size gets the same budget of neurons per layer (`budget`, by default the largest size), so that a size of N
    runs `trials` x (budget // N) trials: small networks, where the variance is, get more of them, and one compiled
    program serves all sizes; a size that has `enough_trials` after fewer runs is left at that. Networks are made of
    tiles of 64 neurons: sizes that are multiples of 64 waste nothing.

    `workers` cells run beside each other, in threads: on a CPU as many as there are cores pay, at their price in memory.
    Results do not depend on it. The neurons of a cell, and so its networks, are shared out among the devices of `mesh`.
    `burn_in` counts steps that do not enter the error. `make_drive(network, key)` is the external input, by default a
    `WienerDrive`. `progress` wraps the iterable of cells (`ratelike.Progress()` and `tqdm.tqdm` do). `on_cell` is
    called with every finished `Cell`, to save it: what is finished is not lost if a later cell fails.

    A cell keeps its connections and a few numbers per tile of 64 neurons and step. For networks of which one alone is
    too large for that, `simulate` a `streamed_relay_network` under each dynamics (`sweep(measure=...)`).

    Raises `ValueError` for sizes < 1 or none, `trials` or `enough_trials` < 1, a budget below the largest size, a
    missing or raw key, what should be a function and is not, and whatever `make_network`, the drive and the grid object
    to; `RuntimeError` where `simulate` would: if a network did not reach the end with finite values.
    """
    validation.function("make_network", make_network, "a size and a key")
    optional = {
        "make_drive": (make_drive, "a network and a key"),
        "progress": (progress, "an iterable"),
        "on_cell": (on_cell, "a cell"),
    }
    for name, (value, what) in optional.items():
        if value is not None:
            validation.function(name, value, what)
    validation.instance("sizes", sizes, Iterable)
    validation.instance("grid", grid, TimeGrid)
    if isinstance(sizes, (str, bytes)):
        raise ValueError(f"sizes must list numbers, got {validation.shown(sizes)}")
    sizes = tuple(validation.count("sizes", size) for size in sizes)
    if not sizes:
        raise ValueError("sizes must name at least one network size, got none")
    if len(set(sizes)) != len(sizes):
        raise ValueError(f"sizes must differ from each other, got {sizes}")
    sizes = tuple(sorted(sizes))
    trials = validation.count("trials", trials)
    if enough_trials is not None:
        enough_trials = validation.count("enough_trials", enough_trials)
    workers = validation.count("workers", workers)
    key = validation.typed_key("key", key)
    burn_in = validation.burn_in(burn_in, grid.num_steps)
    budget = sizes[-1] if budget is None else validation.count("budget", budget)
    if budget < sizes[-1]:
        raise ValueError(
            f"budget must be at least the largest size, {sizes[-1]}, got {budget}"
        )
    dynamics = (
        Spiking(),
        GeneralisedRate() if generalised is None else generalised,
        ConventionalRate() if conventional is None else conventional,
    )
    for name, each in zip(("generalised", "conventional"), dynamics[1:], strict=True):
        validation.instance(name, each, AbstractDynamics)
    make_drive = _white_noise if make_drive is None else make_drive
    network = _check_network(make_network, sizes[0], key, grid, dynamics)
    _check_drive(make_drive, network, key, grid)
    if mesh is not None:
        validation.instance("mesh", mesh, jax.sharding.Mesh)
    study = _Study(make_network, make_drive, grid, dynamics, mesh)
    plan = [
        (size, run)
        for size in sizes
        for run in range(trials)
        if enough_trials is None
        or run * _networks_at_once(size, budget) < enough_trials
    ]
    cells: list[Cell] = []
    # A cell is one compiled program, of which XLA spreads little over the cores of a CPU; cells beside each other do.
    with ThreadPoolExecutor(workers) as pool:
        running = [
            pool.submit(_run, study, size, run, key, budget, burn_in)
            for size, run in plan
        ]
        to_come = SideBySide(running, workers)
        try:
            for future in to_come if progress is None else progress(to_come):
                cells.append(future.result())
                if on_cell is not None:
                    on_cell(cells[-1])
        finally:
            pool.shutdown(cancel_futures=True)

    def curve(values: Callable[[Cell], np.ndarray]) -> ErrorCurve:
        return ErrorCurve(
            sizes,
            tuple(
                np.concatenate([values(cell) for cell in cells if cell.size == size])
                for size in sizes
            ),
        )

    return Convergence(
        generalised=curve(lambda cell: cell.generalised),
        conventional=curve(lambda cell: cell.conventional),
        rates=curve(lambda cell: cell.rates),
    )


class _Study(eqx.Module):
    make_network: Callable[[int, Array], Network] = eqx.field(static=True)
    make_drive: Callable[[Network, Array], AbstractDrive] = eqx.field(static=True)
    grid: TimeGrid
    dynamics: tuple[AbstractDynamics, AbstractDynamics, AbstractDynamics]
    mesh: jax.sharding.Mesh | None = eqx.field(static=True, default=None)


def _white_noise(network: Network, key: Array) -> WienerDrive:
    first = network.layers[0]
    return WienerDrive(first.num_latents, tau_m=jnp.mean(first.neuron.tau_m), key=key)


def _networks_at_once(size: int, budget: int) -> int:
    return num_tiles(budget) // num_tiles(size)


@broadcasts
def _run(
    study: _Study, size: int, run: int, key: Array, budget: int, burn_in: int
) -> Cell:
    tiles_each, count = num_tiles(size), _networks_at_once(size, budget)
    trials = jnp.asarray(run * count + np.arange(count))
    networks, drive_keys, spike_keys = _draw(study, size, trials, key)
    drives = [
        _increments(study, *_chosen((networks, drive_keys), jnp.asarray(i)))
        for i in range(count)
    ]
    packed = pack(networks, jnp.stack(drives), spike_keys, size, num_tiles(budget))
    errors, rates, succeeded = errors_of_tiles(
        packed, study.grid, study.dynamics, burn_in, study.mesh
    )
    for dynamics, made_sense in zip(study.dynamics, np.asarray(succeeded), strict=True):
        if not made_sense:
            raise not_finite_error(
                f"a network of size {size} under {type(dynamics).__name__}",
                f"in one of trials {run * count} to {(run + 1) * count - 1}",
            )
    of_networks = slice(0, count * tiles_each, tiles_each)
    generalised, conventional = (np.asarray(e)[of_networks] for e in errors)
    return Cell(
        size,
        run * count,
        generalised,
        conventional,
        np.asarray(rates)[of_networks],
        neuron_steps=count * size * networks.depth * study.grid.num_steps,
    )


@eqx.filter_jit
def _draw(
    study: _Study, size: int, trials: Integer[Array, " trials"], key: Array
) -> tuple[Network, Array, Array]:
    """Networks, and keys of drives and spikes; one after the other, which compiles faster than all at once."""

    def draw(trial):
        keys = jax.random.split(jax.random.fold_in(of_size, trial), 3)
        network = study.make_network(size, keys[0])
        check_is_network(network, size)
        return network.stored(), keys[1], keys[2]

    of_size = jax.random.fold_in(key, size)
    return jax.lax.map(draw, trials)


def _increments(
    study: _Study, network: Network, key: Array
) -> Float[Array, "time latents"]:
    # The drive knows nothing of the size: this compiles once.
    return _drive_increments(study.make_drive(network, key), study.grid)


@eqx.filter_jit  # leaf by leaf it would take ten milliseconds a network
def _chosen(networks: PyTree, index: Integer[Array, ""]) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[index], networks)


@eqx.filter_jit
def _drive_increments(drive: AbstractDrive, grid: TimeGrid) -> Array:
    return drive.increments(grid)


def _check_network(
    make_network, size: int, key: Array, grid: TimeGrid, dynamics
) -> Network:
    """One small network is made for real, so that what is wrong with it is told before anything compiles."""
    network = make_network(size, key)
    check_is_network(network, size)
    validation.finite_leaves("network", network)
    check_layers(network, grid, dynamics)
    return network


def check_is_network(network: Any, size: int | None = None) -> None:
    """`network` is one, with `size` neurons in each layer where a size was asked for."""
    if not isinstance(network, Network):
        raise ValueError(
            f"make_network must return a ratelike.Network, got {validation.shown(network)}"
        )
    for index, layer in enumerate(network.layers):
        if size is not None and layer.num_neurons != size:
            raise ValueError(
                f"make_network must give every layer the {size} neurons it is asked for, "
                f"got {layer.num_neurons} in layer {index}"
            )


def _check_drive(make_drive, network: Network, key: Array, grid: TimeGrid) -> None:
    """The drive of a small network has its latents; only its shape is looked at, which compiles nothing."""
    drive = make_drive(network, key)
    if not isinstance(drive, AbstractDrive):
        raise ValueError(
            f"make_drive must return a drive such as ratelike.WienerDrive, got {validation.shown(drive)}"
        )
    shape = eqx.filter_eval_shape(_drive_increments, drive, grid).shape
    expected = (grid.num_steps, network.layers[0].num_latents)
    if shape != expected:
        raise ValueError(
            f"make_drive must return a drive whose increments have the shape {expected} (time, latents) of the grid and "
            f"the network, got {shape}"
        )
