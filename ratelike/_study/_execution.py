"""How a convergence study is computed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import Mesh

from ratelike import _validation as validation
from ratelike._population._host_threads import num_cores
from ratelike._study._cell import Cell

# Wraps the cells of a study, to show how far it is: `ratelike.study.Progress()`, `tqdm.tqdm`.
ProgressBar = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Execution:
    """How much of a study is computed at a time, on what, and what happens meanwhile.

    `budget` and `enough_trials` decide how many trials a size gets. The error of a trial depends on nothing here.

    `budget`
        Neurons per layer in each cell, by default the largest size. A cell holds as many networks as fit: the tiles of
        64 neurons in `budget`, over those of a network, rounded down. Sizes that are multiples of 64 waste nothing.
    `enough_trials`
        A size that has so many trials after fewer cells gets no more of them.
    `workers`
        Cells that run at the same time, in threads; by default as many as there are cores, on a CPU without a `mesh`,
        and one elsewhere. Each has its price in memory.
    `mesh`
        The neurons of a cell, and so its networks, are shared out among the devices of a `jax.make_mesh`.
    `progress`
        Wraps the iterable of cells: `ratelike.study.Progress()` and `tqdm.tqdm` do.
    `on_cell`
        Is called with every finished `Cell`, to save it: what is finished is not lost if a later cell fails.

    Raises `ValueError` for counts < 1, and what should be a function or a mesh and is not.
    """

    budget: int | None = None
    enough_trials: int | None = None
    workers: int | None = None
    mesh: Mesh | None = None
    progress: ProgressBar | None = None
    on_cell: Callable[[Cell], None] | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "budget", "enough_trials"):
            value = getattr(self, name)
            if value is not None:
                count = validation.count(f"Execution.{name}", value)
                object.__setattr__(self, name, count)
        if self.mesh is not None:
            validation.instance("Execution.mesh", self.mesh, Mesh)
        if self.progress is not None:
            validation.function("Execution.progress", self.progress, "an iterable")
        if self.on_cell is not None:
            validation.function("Execution.on_cell", self.on_cell, "a cell")

    @property
    def num_workers(self) -> int:
        """`workers`, or their default."""
        if self.workers is not None:
            return self.workers
        return 1 if self.mesh is not None else default_workers()


def default_workers() -> int:
    """Cells are programs for one core of a processor, or for the whole of another device."""
    return num_cores() if jax.default_backend() == "cpu" else 1
