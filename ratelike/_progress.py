"""How far a study is: a bar for people, lines for log files."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """Shows how many cells are done, how many neuron-steps per second, and the time that is left.

    Hand it to `sweep(progress=...)` or `convergence(progress=...)`. On a terminal it is a tqdm bar; elsewhere (a file, a
    batch job) a line for a finished cell, at most one every `interval` seconds and one for the last.

    Neuron-steps are the neurons of all layers, simulated by however many dynamics, times steps. Time left assumes that
    cells take equally long, as those of the default measurement nearly do.
    """

    description: str = "cells"
    interval: float = 10.0  # s
    file: TextIO | None = None  # by default the standard error

    def __call__(self, cells: Iterable[T]) -> Iterator[T]:
        file = sys.stderr if self.file is None else self.file
        show = self._bar if file.isatty() else self._lines
        return show(cells, len(cells) if isinstance(cells, Sized) else None, file)

    def _bar(self, cells: Iterable[T], total: int | None, file: TextIO) -> Iterator[T]:
        from tqdm import tqdm

        began, steps = time.perf_counter(), 0
        with tqdm(desc=self.description, total=total, unit="cell", file=file) as bar:
            for cell in cells:
                yield cell
                steps += _neuron_steps(cell)
                bar.set_postfix_str(_speed(steps, began), refresh=False)
                bar.update()

    def _lines(
        self, cells: Iterable[T], total: int | None, file: TextIO
    ) -> Iterator[T]:
        began, steps, shown = time.perf_counter(), 0, -float("inf")
        for done, cell in enumerate(cells, start=1):
            yield cell
            steps += _neuron_steps(cell)
            now = time.perf_counter()
            if now - shown < self.interval and done != total:
                continue
            shown = now
            line = f"{self.description}: {done}"
            if total is not None:
                left = (now - began) / done * (total - done)
                line += f"/{total}, {_duration(left)} left"
            print(f"{line}, {_speed(steps, began)}", file=file, flush=True)


def _neuron_steps(cell: Any) -> int:
    # `convergence` hands out cells that are still running; the caller has waited for them by now.
    finished = cell.result() if isinstance(cell, Future) else cell
    return getattr(finished, "neuron_steps", 0)


def _speed(steps: int, began: float) -> str:
    return f"{steps / (time.perf_counter() - began):.2e} neuron-steps/s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
