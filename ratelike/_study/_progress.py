"""How far a study is: a bar on a terminal, lines in a log file."""

import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from ratelike import _validation as validation

T = TypeVar("T")


@runtime_checkable
class Writable(Protocol):
    """A text file, as far as it is needed: `flush` and `isatty` are used where they exist."""

    def write(self, text: str, /) -> Any: ...


@dataclass(frozen=True)
class CellsInOrder(Generic[T]):
    """An iterable of known length over cells, of which `at_once` are computed at the same time."""

    cells: Sequence[T]
    at_once: int

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[T]:
        return iter(self.cells)


@dataclass(frozen=True)
class Progress:
    """Shows how many cells are done, the time that is left, and how many neuron-steps per second.

    It is the `progress` of an `Execution` or a `SweepExecution`. On a terminal it is a tqdm bar; elsewhere (a file, a
    batch job) it writes a line for a finished cell, at most one every `interval` seconds and one for the last; and
    nothing where there is no standard error.

    Neuron-steps are the neurons of all layers, simulated by however many dynamics, times steps. Time left assumes that
    cells take equally long, as those of the default measurement nearly do. The first cell of each worker compiles as
    well: the time left is an upper bound until a second one is finished, and is measured without the first from then on.
    """

    description: str = "cells"
    interval: float = 10.0  # s
    file: Writable | None = None  # by default the standard error

    def __post_init__(self) -> None:
        validation.number("Progress.interval", self.interval, at_least=0.0)
        if self.file is not None and not hasattr(self.file, "write"):
            raise ValueError(f"Progress.file must be a text file, got {self.file!r}")

    def __call__(self, cells: Iterable[T]) -> Iterator[T]:
        # A service, or a window without a console, has no standard error.
        file = sys.stderr if self.file is None else self.file
        if file is None:
            return iter(cells)
        is_terminal = getattr(file, "isatty", None)
        show = self._bar if is_terminal is not None and is_terminal() else self._lines
        return show(cells, len(cells) if isinstance(cells, Sized) else None, file)

    def _bar(
        self, cells: Iterable[T], total: int | None, file: Writable
    ) -> Iterator[T]:
        from tqdm import tqdm

        pace = _Pace(total, getattr(cells, "at_once", 1))
        # The time left is not tqdm's own, which counts the first cells.
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
        with tqdm(
            desc=self.description,
            total=total,
            unit="cell",
            file=file,
            bar_format=form,
        ) as bar:
            for cell in cells:
                yield cell
                bar.set_postfix_str(", ".join(pace.after(cell)), refresh=False)
                bar.update()

    def _lines(
        self, cells: Iterable[T], total: int | None, file: Writable
    ) -> Iterator[T]:
        pace, shown = _Pace(total, getattr(cells, "at_once", 1)), -float("inf")
        for done, cell in enumerate(cells, start=1):
            yield cell
            words = pace.after(cell)
            if pace.now.time - shown < self.interval and done != total:
                continue
            shown = pace.now.time
            count = f"{self.description}: {done}" + (
                "" if total is None else f"/{total}"
            )
            file.write(", ".join([count, *words]) + "\n")
            flush = getattr(file, "flush", None)
            if flush is not None:
                flush()


class _State(NamedTuple):
    """How much is done at a time."""

    time: float  # s
    done: int = 0
    neuron_steps: int = 0


class _Pace:
    """Time left and speed, measured from the end of the first cells on."""

    # Each of W workers compiles in its first cell. From cell m to cell m + k W passes the time of k cells on one worker,
    # whether the workers finish together or in turn: so the latest cell is compared with that of the first W which lies a
    # multiple of W before it.

    def __init__(self, total: int | None, at_once: int) -> None:
        self.total = total
        self.at_once = at_once if total is None else max(1, min(at_once, total))
        self.now = self.began = _State(perf_counter())
        self.firsts: list[_State] = []

    def after(self, cell: Any) -> list[str]:
        """Counts one more cell as done, and returns the time left and the speed in words."""
        _, done, steps = self.now
        self.now = _State(perf_counter(), done + 1, steps + _neuron_steps(cell))
        compiled = done >= self.at_once
        since = self.firsts[done % self.at_once] if compiled else self.began
        if not compiled:
            self.firsts.append(self.now)
        seconds = max(self.now.time - since.time, 1e-9)
        words = []
        if self.total is not None:
            cells = self.now.done - since.done if compiled else self.at_once
            left = seconds / cells * (self.total - self.now.done)
            bound = "" if compiled or self.now.done == self.total else "at most "
            words.append(f"{bound}{_duration(left)} left")
        if self.now.neuron_steps:
            speed = (self.now.neuron_steps - since.neuron_steps) / seconds
            words.append(f"{speed:.2e} neuron-steps/s")
        return words


def _neuron_steps(cell: Any) -> int:
    # `convergence` hands out cells that are still running, and has waited for this one by now.
    finished = cell.result() if isinstance(cell, Future) else cell
    return getattr(finished, "neuron_steps", 0)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
