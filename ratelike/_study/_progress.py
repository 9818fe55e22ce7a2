"""How far a study is: a bar for people, lines for log files."""

import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Generic, NamedTuple, TextIO, TypeVar

from ratelike import _validation as validation

T = TypeVar("T")


@dataclass(frozen=True)
class SideBySide(Generic[T]):
    """Cells in their order, of which `at_once` are computed beside each other: an iterable of a length."""

    cells: Sequence[T]
    at_once: int

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[T]:
        return iter(self.cells)


@dataclass(frozen=True)
class Progress:
    """Shows how many cells are done, the time that is left, and how many neuron-steps per second.

    Hand it to `sweep(progress=...)` or `convergence(progress=...)`. On a terminal it is a tqdm bar; elsewhere (a file, a
    batch job) a line for a finished cell, at most one every `interval` seconds and one for the last; and nothing where
    there is no standard error.

    Neuron-steps are the neurons of all layers, simulated by however many dynamics, times steps. Time left assumes that
    cells take equally long, as those of the default measurement nearly do. The first cell of each worker compiles as
    well: until there is another the time left is an upper bound, and then these cells no longer count.
    """

    description: str = "cells"
    interval: float = 10.0  # s
    file: TextIO | None = None  # by default the standard error

    def __post_init__(self):
        validation.number("Progress.interval", self.interval, at_least=0.0)
        if self.file is not None and not hasattr(self.file, "write"):
            raise ValueError(f"Progress.file must be a text file, got {self.file!r}")

    def __call__(self, cells: Iterable[T]) -> Iterator[T]:
        # There is none in a service or a window without a console.
        file = sys.stderr if self.file is None else self.file
        if file is None:
            return iter(cells)
        is_terminal = getattr(file, "isatty", None)
        show = self._bar if is_terminal is not None and is_terminal() else self._lines
        return show(cells, len(cells) if isinstance(cells, Sized) else None, file)

    def _bar(self, cells: Iterable[T], total: int | None, file: TextIO) -> Iterator[T]:
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
        self, cells: Iterable[T], total: int | None, file: TextIO
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
            if hasattr(file, "flush"):
                file.flush()


class _Mark(NamedTuple):
    time: float  # s
    done: int = 0
    neuron_steps: int = 0


class _Pace:
    """Time left and speed, measured from the end of the first cells on.

    Of W workers, each compiles in its first cell. They go on in step or one after the other: in both cases the time from
    cell m to cell m + k W is that of k cells on one worker, so that the present cell is compared with the one of the first W
    that lies a multiple of W before it.
    """

    def __init__(self, total: int | None, at_once: int):
        self.total = total
        self.at_once = at_once if total is None else max(1, min(at_once, total))
        self.now = self.began = _Mark(perf_counter())
        self.firsts: list[_Mark] = []

    def after(self, cell: Any) -> list[str]:
        """What there is to say when one more cell is done."""
        _, done, steps = self.now
        self.now = _Mark(perf_counter(), done + 1, steps + _neuron_steps(cell))
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
    # `convergence` hands out cells that are still running; the caller has waited for them by now.
    finished = cell.result() if isinstance(cell, Future) else cell
    return getattr(finished, "neuron_steps", 0)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
