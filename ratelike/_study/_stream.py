"""A run of any length, in pieces: memory does not grow with it, and a run that was killed goes on."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import diffrax
import jax
import numpy as np
from jaxtyping import Array

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._checked_record import Record
from ratelike._dynamics._state import State
from ratelike._dynamics._stationary_state import StationaryState
from ratelike._dynamics._trajectory import Trajectory
from ratelike._network import Network
from ratelike._signal._drive import AbstractDrive, GridPath, Input
from ratelike._signal._grid import TimeGrid
from ratelike._simulate import simulate
from ratelike._study._stream_folder import open_stream
from ratelike._study._sweep._description import describe, hash_of

Write = Callable[[Trajectory], Any]


def stream(
    network: Network,
    drive: Input | None,
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    *,
    key: Array | None = None,
    every: int,
    write: Write | str | os.PathLike[str],
    initial: State | StationaryState | None = None,
    record: Mapping[int, Record] | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> State:
    """`simulate` in pieces of `every` steps, each of which is handed to `write`; returns the state at the end.

        state = rl.stream(network, drive, rl.TimeGrid(1e-3, 10_000_000), rl.Spiking(), key=key, every=10_000, write="run")
        run = rl.study.read_stream("run")  # times, outputs, rates

    `write` is a function of the `Trajectory` of each piece, whose `times` are those of the whole run; or the name of a
    folder, in which each piece leaves its outputs and mean rates, and the state after it. Then the same call goes on where
    an earlier one was killed, with the same bits. A piece that was begun is run again; a folder of another run is refused.
    Memory is that of one piece (and of the input, if that is an array).

    Raises `ValueError` for `every` < 1, a `record` beside a folder, and what `simulate` objects to.
    """
    every = validation.count("every", every)
    validation.instance("grid", grid, TimeGrid)
    folder, state = None, initial
    if not callable(write):
        _check_folder(write, record)
        of_run = (grid.dt, grid.num_steps)
        asked = (network, drive, of_run, dynamics, key, every, initial)
        folder = open_stream(Path(write), hash_of(describe(asked)))
        state = initial if folder.state is None else folder.state
    for index, (piece, own) in enumerate(_pieces(drive, grid, every)):
        if folder is not None and index < folder.num_finished:
            continue
        trajectory = simulate(
            network,
            own,
            piece,
            dynamics,
            key=key,
            record=record,
            mesh=mesh,
            initial=state,
            keep_final=True,
        )
        state = trajectory.final
        assert state is not None
        if folder is not None:
            folder.write(index, trajectory, state)
        elif callable(write):
            write(trajectory)
    assert isinstance(state, State)
    return state


def _check_folder(write: Any, record: Mapping[int, Record] | None) -> None:
    if record is not None:
        raise ValueError(
            f"record must be None where write is a folder, which keeps outputs and rates, got {validation.shown(record)}; "
            "give a function of the trajectory of each piece"
        )
    if not isinstance(write, (str, os.PathLike)):
        raise ValueError(
            f"write must be a function of a trajectory or a path, got {validation.shown(write)}"
        )


def _pieces(
    drive: Input | None, grid: TimeGrid, every: int
) -> Iterator[tuple[TimeGrid, Input | None]]:
    """Their grids, and what comes in on each."""
    for start in range(0, grid.num_steps, every):
        steps = min(every, grid.num_steps - start)
        piece = TimeGrid(grid.dt, steps, grid.first_step + start)
        if isinstance(drive, GridPath):
            yield piece, GridPath(drive.values[start : start + steps], piece)
        elif drive is None or isinstance(drive, (AbstractDrive, diffrax.AbstractPath)):
            yield piece, drive
        else:
            values = drive if isinstance(drive, jax.Array) else np.asarray(drive)
            yield piece, values[start : start + steps]
