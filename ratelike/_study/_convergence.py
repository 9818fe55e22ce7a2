"""The verb: error against network size, of spiking networks and the rate networks of the same connectivity."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from jaxtyping import Array

from ratelike import _validation as validation
from ratelike._network import Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid
from ratelike._study._cell import Cell, networks_at_once, run_cell
from ratelike._study._checks import check_budget, checked_sizes
from ratelike._study._compared_dynamics import ComparedDynamics
from ratelike._study._execution import Execution
from ratelike._study._progress import CellsInOrder
from ratelike._study._result import Convergence
from ratelike._study._study import Study, checked_study


@broadcasts
def convergence(
    make_network: Callable[[int, Array], Network],
    sizes: Sequence[int],
    grid: TimeGrid,
    *,
    num_trials: int,
    key: Array,
    burn_in: int = 0,
    make_drive: Callable[[Network, Array], Input] | None = None,
    dynamics: ComparedDynamics | None = None,
    execution: Execution | None = None,
) -> Convergence:
    r"""Mean absolute difference of the outputs, spiking against rate network, over network sizes.

        study = rl.convergence(make_network, [64, 256, 1024], grid, num_trials=4, key=key, burn_in=200)
        study.generalised.slope()

    `make_network(num_neurons, key)` returns a network; it is traced (`jax.lax.map` over keys) once for each size. Each
    trial draws fresh connectivity, drive and spikes from a key of its own that depends on `key`, the size and the trial
    alone.

    The largest size gets `num_trials` trials, smaller ones more: their cells hold as many neurons, so that one
    compiled program serves all sizes and small networks, where the variance is, get most trials. `execution` says how
    many neurons, for how long, in how many threads, and on what devices: `Execution(workers=4, on_cell=save)`.

    `burn_in` counts steps that do not enter the error. `make_drive(network, key)` is the external input, by default a
    `WienerDrive`: any drive, increments or path that `simulate` takes. It is called for each network. `dynamics=ComparedDynamics(generalised=...)` replaces a dynamics.

    A cell keeps its connections and a few numbers per tile of 64 neurons and step. For networks of which one alone is
    too large for that, `simulate` a `streamed_relay_network` under each dynamics (`sweep(measure=...)`).

    Raises `ValueError` for sizes < 1 or none, `num_trials` < 1, a budget below the largest size, a missing or raw
    key, what should be a function and is not, and whatever `make_network`, the drive and the grid object to;
    `RuntimeError` where `simulate` would: if a network did not reach the end with finite values.
    """
    sizes = checked_sizes(sizes)
    num_trials = validation.count("num_trials", num_trials)
    key = validation.typed_key("key", key)
    execution = Execution() if execution is None else execution
    validation.instance("execution", execution, Execution)
    check_budget("execution.budget", execution.budget, sizes[-1])
    budget = sizes[-1] if execution.budget is None else execution.budget
    study = checked_study(make_network, grid, make_drive, dynamics, execution.mesh)
    burn_in = validation.burn_in(burn_in, grid.num_steps)
    study.check(sizes[0], key)
    enough = execution.enough_trials
    plan = [
        (study, size, run, key, budget, burn_in)
        for size in sizes
        for run in range(num_trials)
        if enough is None or run * networks_at_once(size, budget) < enough
    ]
    return Convergence.from_cells(_computed(plan, execution))


def _computed(
    plan: Sequence[tuple[Study, int, int, Array, int, int]], execution: Execution
) -> Iterator[Cell]:
    """The cells with these arguments, in their order."""
    # A cell is one compiled program, which XLA spreads poorly over the cores of a CPU; several at a time use them.
    workers = min(execution.num_workers, len(plan))
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run_cell, *arguments) for arguments in plan]
        cells = CellsInOrder(futures, workers)
        try:
            for future in (
                cells if execution.progress is None else execution.progress(cells)
            ):
                cell = future.result()
                if execution.on_cell is not None:
                    execution.on_cell(cell)
                yield cell
        finally:
            pool.shutdown(cancel_futures=True)
