"""What is shown of a study while it runs: exact words, by a clock that the test sets."""

import io
import sys
from concurrent.futures import Future
from types import SimpleNamespace

import filelock
import jax
import numpy as np
import pytest

import ratelike as rl
from ratelike._study._progress import CellsInOrder
from ratelike._study._sweep._measure import MeasureNetwork
from ratelike._study._sweep._plan import PlannedCell
from ratelike._study._sweep._runner import Runner, _MissingCells
from tests.processes.sweep_study import GRID, plain, projection


class Timed:
    """Cells of 1000 neuron-steps that end at given moments."""

    def __init__(self, monkeypatch, ends, at_once=1, neuron_steps=1000):
        self.ends, self.at_once, self.now = ends, at_once, 1000.0
        self.neuron_steps = neuron_steps
        monkeypatch.setattr("ratelike._study._progress.perf_counter", lambda: self.now)

    def __len__(self):
        return len(self.ends)

    def __iter__(self):
        for end in self.ends:
            self.now = 1000.0 + end
            yield SimpleNamespace(neuron_steps=self.neuron_steps)


def lines(cells, **arguments):
    file = io.StringIO()
    list(rl.study.Progress(file=file, **{"interval": 0.0, **arguments})(cells))
    return file.getvalue().splitlines()


def test_time_left_and_speed_leave_out_the_first_cell(monkeypatch):
    """54 s of compiling, then 6 s for a cell."""
    assert lines(Timed(monkeypatch, [60, 66, 72, 78]), description="sizes") == [
        "sizes: 1/4, at most 0:03:00 left, 1.67e+01 neuron-steps/s",
        "sizes: 2/4, 0:00:12 left, 1.67e+02 neuron-steps/s",
        "sizes: 3/4, 0:00:06 left, 1.67e+02 neuron-steps/s",
        "sizes: 4/4, 0:00:00 left, 1.67e+02 neuron-steps/s",
    ]


@pytest.mark.parametrize("apart", [0, 3])
def test_each_worker_compiles_in_its_first_cell(monkeypatch, apart):
    """Two workers in step, or half a cell apart: two cells every 6 s, so that each one left takes 3 s."""
    ends = [60, 60 + apart, 66, 66 + apart, 72, 72 + apart]
    shown = lines(Timed(monkeypatch, ends, at_once=2))
    assert [line.split(", ")[1] for line in shown] == [
        "at most 0:02:30 left",
        f"at most 0:0{(60 + apart) // 30}:0{2 * apart} left",
        "0:00:09 left",
        "0:00:06 left",
        "0:00:03 left",
        "0:00:00 left",
    ]
    assert {line.split(", ")[2] for line in shown[2:]} == {"3.33e+02 neuron-steps/s"}


def test_more_workers_than_cells_and_hours(monkeypatch):
    assert lines(Timed(monkeypatch, [7384.0, 7385.0], at_once=8)) == [
        "cells: 1/2, at most 1:01:32 left, 1.35e-01 neuron-steps/s",
        "cells: 2/2, 0:00:00 left, 2.71e-01 neuron-steps/s",
    ]


def test_a_line_at_most_every_interval_and_one_for_the_last(monkeypatch):
    shown = lines(Timed(monkeypatch, [1, 5, 10, 12, 20, 21, 22]), interval=10.0)
    assert [line.split(",")[0] for line in shown] == [
        "cells: 1/7",
        "cells: 4/7",
        "cells: 7/7",
    ]


def test_what_is_not_known_is_not_said(monkeypatch):
    """An iterable without a length, and things that are no cells."""
    assert lines(iter(Timed(monkeypatch, [2, 4]))) == [
        "cells: 1, 5.00e+02 neuron-steps/s",
        "cells: 2, 5.00e+02 neuron-steps/s",
    ]
    monkeypatch.undo()
    assert lines(iter("ab")) == ["cells: 1", "cells: 2"]


def test_cells_that_end_at_the_same_moment(monkeypatch):
    shown = lines(Timed(monkeypatch, [0, 0]))
    assert [line.split(", ")[1] for line in shown] == [
        "at most 0:00:00 left",
        "0:00:00 left",
    ]


def test_cells_that_still_run_are_counted_by_their_result(monkeypatch):
    future = Future()
    future.set_result(SimpleNamespace(neuron_steps=500))
    assert lines([future])[0].startswith("cells: 1/1, 0:00:00 left, ")
    assert not lines([future])[0].endswith(" 0.00e+00 neuron-steps/s")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_says_the_same(monkeypatch):
    file = Terminal()
    cells = Timed(monkeypatch, [60, 66, 72, 78])
    list(rl.study.Progress("sizes", file=file)(cells))
    last = file.getvalue().split("\r")[-1].strip()
    assert last.startswith("sizes: 100%|")
    assert "| 4/4 [00:0" in last
    assert last.endswith(", 0:00:00 left, 1.67e+02 neuron-steps/s]")


def test_the_bar_shows_the_time_left_while_it_runs(monkeypatch):
    frames = []

    class Bar:
        def __init__(self, **arguments):
            assert "{remaining}" not in arguments["bar_format"]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def set_postfix_str(self, text, refresh):
            frames.append(text)

        def update(self):
            pass

    monkeypatch.setattr("tqdm.tqdm", Bar)
    list(rl.study.Progress(file=Terminal())(Timed(monkeypatch, [60, 66, 72])))
    assert frames == [
        "at most 0:02:00 left, 1.67e+01 neuron-steps/s",
        "0:00:06 left, 1.67e+02 neuron-steps/s",
        "0:00:00 left, 1.67e+02 neuron-steps/s",
    ]


def test_no_standard_error_and_a_file_that_can_only_be_written_to(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert list(rl.study.Progress()([1, 2, 3])) == [1, 2, 3]

    class Log:
        text = ""

        def write(self, text):
            self.text += text

    log = Log()
    monkeypatch.setattr(sys, "stderr", log)
    assert list(rl.study.Progress(interval=0.0)("ab")) == ["a", "b"]
    assert [line.split(",")[0] for line in log.text.splitlines()] == [
        "cells: 1/2",
        "cells: 2/2",
    ]


def test_studies_say_how_many_cells_run_at_a_time(monkeypatch, tmp_path):
    def made_up(study, size, run, *_):
        return rl.study.Cell(size, run, *np.ones((3, 1)), neuron_steps=7)

    monkeypatch.setattr("ratelike._study._convergence.run_cell", made_up)
    seen = []

    def progress(cells):
        seen.append((type(cells), len(cells), cells.at_once))
        return rl.study.Progress(file=io.StringIO())(cells)

    def relay(num_neurons, key):
        return rl.relay_network(
            rl.SRM0(), num_neurons=num_neurons, num_latents=1, depth=1, key=key
        )

    rl.convergence(
        relay,
        [2, 4],
        rl.TimeGrid(1e-3, 4),
        num_trials=2,
        key=jax.random.key(0),
        execution=rl.study.Execution(workers=3, progress=progress),
    )
    assert seen == [(CellsInOrder, 4, 3)]
    slots = jax.devices()[:1] * 3
    measure = MeasureNetwork(plain, GRID, projection)
    key = jax.random.key(0)
    runner = Runner(tmp_path, "hash", measure, key, slots, filelock.FileLock)
    cells = _MissingCells(runner, [PlannedCell(0, 0, 0, {}, {})] * 2)
    assert (len(cells), cells.at_once) == (2, 3)


def test_arguments_that_make_no_sense():
    for value in (-1.0, np.nan, "1"):
        with pytest.raises(ValueError, match=r"Progress.interval must .* got"):
            rl.study.Progress(interval=value)
    with pytest.raises(ValueError, match=r"Progress.file must be a text file, got 3"):
        rl.study.Progress(file=3)
