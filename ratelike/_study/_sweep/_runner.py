"""Runs the missing cells of a plan, in threads of this process, while other processes may share the folder."""

import os
import platform
import queue
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np
from jaxtyping import Array

from ratelike._io._atomic import remove_leftovers
from ratelike._study._sweep._cell_file import (
    DamagedCell,
    FinishedCell,
    read_cell,
    write_cell,
)
from ratelike._study._sweep._environment import Device, environment, setting
from ratelike._study._sweep._execution import Claim
from ratelike._study._sweep._manifest import locks_of, path_of
from ratelike._study._sweep._measure import AbstractCellMeasure
from ratelike._study._sweep._plan import PlannedCell

LOOK_AGAIN = 0.5  # s between looks at cells that other processes have claimed
LONG = 60.0  # s without a finished cell after which a warning names a cell that is waited for


def kind_of(claim: Any, folder: Path) -> dict[str, Any]:
    """What all processes that share a folder must agree on: the kind of lock, and when a lease ends."""
    try:
        lock = claim(str(_lock_path(folder, 0)))
    except TypeError as error:
        raise ValueError(
            f"claim must be a function of the path of a lock file, got {claim!r}: {error}"
        ) from None
    if not (hasattr(lock, "acquire") and hasattr(lock, "release")):
        raise ValueError(
            f"claim must return a lock of the filelock package, got {lock!r}"
        )
    kind = {"kind": type(lock).__name__}
    duration = getattr(lock, "lease_duration", None)
    return kind if duration is None else {**kind, "lease_duration": float(duration)}


def _lock_path(folder: Path, index: int) -> Path:
    return locks_of(folder) / f"{index:06d}.lock"


@dataclass(frozen=True)
class Runner:
    """Computes the cells of a sweep that its folder does not hold."""

    folder: Path
    configuration: str  # hash
    measure: AbstractCellMeasure
    key: Array
    slots: Sequence[Device]  # as many cells at a time, each on its device
    claim: Claim

    def run(
        self,
        plan: Sequence[PlannedCell],
        progress: Callable[[Iterable[Any]], Iterable[Any]] | None,
    ) -> list[FinishedCell]:
        """Every cell of the plan, read or computed. Waits for those that other processes compute."""
        finished = {}
        missing = []
        for cell in plan:
            done = self._read(cell)
            if done is None:
                missing.append(cell)
            else:
                finished[cell.index] = done
        running = _MissingCells(self, missing)
        for done in running if progress is None else progress(running):
            finished[done.facts["index"]] = done
        return [finished[cell.index] for cell in plan]

    def compute(self, missing: Sequence[PlannedCell]) -> Iterator[FinishedCell]:
        """The missing cells as they are finished, by this process or by another."""
        devices: queue.SimpleQueue[Device] = queue.SimpleQueue()
        for device in self.slots:
            devices.put(device)
        key_data: Any = np.asarray(jax.random.key_data(self.key))
        implementation = jax.random.key_impl(self.key)
        float64 = setting("jax_enable_x64")

        def attempt(cell: PlannedCell) -> FinishedCell | None:
            device = devices.get()
            try:
                # Both settings are a thread's own. A key made here lives on the device, and what is drawn from it.
                with jax.default_device(device), jax.enable_x64(float64):
                    key = jax.random.wrap_key_data(key_data, impl=implementation)
                    return self._attempt(cell, key, device)
            finally:
                devices.put(device)

        with ThreadPoolExecutor(len(self.slots)) as pool:
            try:
                last, warned = time.monotonic(), False
                while missing:
                    futures = {pool.submit(attempt, cell): cell for cell in missing}
                    claimed = []
                    for future in as_completed(futures):
                        cell = futures[future]
                        try:
                            done = future.result()
                        except Exception as error:
                            error.add_note(f"in {cell} of the sweep in {self.folder}")
                            raise
                        if done is None:
                            claimed.append(cell)
                        else:
                            yield done
                            last = time.monotonic()
                    missing = sorted(claimed, key=lambda cell: cell.index)
                    if missing:
                        if not warned and time.monotonic() - last >= LONG:
                            warned = True
                            self._warn(missing)
                        time.sleep(LOOK_AGAIN)
            finally:
                # Cells that run are finished and saved, the others are not begun.
                pool.shutdown(cancel_futures=True)

    def _warn(self, missing: Sequence[PlannedCell]) -> None:
        """Nothing has been finished for long: the processes that claimed the cells may not run any more."""
        warnings.warn(
            f"waiting for {len(missing)} cells that other processes have claimed, {missing[0]} among them. If no other "
            f"process runs this sweep any more, stop this one, delete {locks_of(self.folder)} and start again",
            stacklevel=2,
        )

    def _attempt(
        self, cell: PlannedCell, key: Array, device: Device
    ) -> FinishedCell | None:
        """None if another process has claimed the cell and has not finished it yet."""
        done = self._read(cell, warn=False)
        if done is not None:
            return done
        path = path_of(self.folder, cell.index)
        lock = self.claim(str(_lock_path(self.folder, cell.index)))
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            return None
        try:
            # It may have been finished between the look and the claim.
            done = self._read(cell, warn=False)
            if done is not None:
                return done
            remove_leftovers(path)
            began = time.perf_counter()
            measured = self.measure(cell, key)
            facts = {
                "configuration": self.configuration,
                "index": cell.index,
                "parameters": cell.labels,
                "block": cell.block,
                "trials": measured.num_trials,
                "neuron_steps": measured.neuron_steps,
                "environment": environment(device),
                "host": platform.node(),
                "process": os.getpid(),
                "seconds": time.perf_counter() - began,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            done = FinishedCell(measured.values, facts)
            write_cell(path, done)
            return done
        finally:
            lock.release()

    def _read(self, cell: PlannedCell, *, warn: bool = True) -> FinishedCell | None:
        path = path_of(self.folder, cell.index)
        try:
            return read_cell(path, configuration=self.configuration, index=cell.index)
        except FileNotFoundError:
            return None
        except DamagedCell as damage:
            if warn:
                warnings.warn(f"{damage}; it is computed again", stacklevel=4)
            return None


@dataclass(frozen=True)
class _MissingCells:
    """An iterable of known length that computes the missing cells, in the order in which they are finished."""

    runner: Runner
    missing: Sequence[PlannedCell]

    @property
    def at_once(self) -> int:
        """Cells that are computed at the same time, for `ratelike.study.Progress`."""
        return len(self.runner.slots)

    def __len__(self) -> int:
        return len(self.missing)

    def __iter__(self) -> Iterator[FinishedCell]:
        return self.runner.compute(self.missing)
