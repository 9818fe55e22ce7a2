"""The folder of a long run: a file for each piece, and the state after the last of them."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ratelike import _validation as validation
from ratelike._dynamics._state import State
from ratelike._dynamics._trajectory import Trajectory
from ratelike._io._atomic import remove_leftovers, write_atomically
from ratelike._io._load import load
from ratelike._io._save import save

STATE = "state.rl"


class Streamed(NamedTuple):
    """What `read_stream` finds."""

    times: Float[np.ndarray, " time"]  # s, the end of each step
    outputs: Float[np.ndarray, "time latents"]
    rates: Float[np.ndarray, "layers time"]  # Hz, mean over neurons


@dataclass
class StreamFolder:
    """Pieces are finished one after the other; what is written is the piece first, and then the state."""

    path: Path
    mark: str  # of the run
    num_finished: int
    state: State | None

    def piece(self, index: int) -> Path:
        return self.path / f"piece-{index:09d}.npz"

    def write(self, index: int, trajectory: Trajectory, state: State) -> None:
        content = io.BytesIO()
        np.savez(
            content,
            times=trajectory.times,
            outputs=np.asarray(trajectory.outputs),
            rates=np.asarray(trajectory.rates),
        )
        write_atomically(self.piece(index), content.getvalue())
        save(
            self.path / STATE,
            {"mark": self.mark, "num_finished": index + 1, "state": state},
        )


def open_stream(path: Path, mark: str) -> StreamFolder:
    """Raises `ValueError` for the folder of another run."""
    path.mkdir(parents=True, exist_ok=True)
    state = path / STATE
    remove_leftovers(state)
    new = StreamFolder(path, mark, 0, None)
    if not state.exists():
        remove_leftovers(new.piece(0))
        return new
    held = load(state)
    if held["mark"] != mark:
        raise ValueError(
            f"write must be a folder of the same run (network, drive, grid, dynamics, key, every and initial), or a new one; "
            f"{path} holds another one, of which {held['num_finished']} pieces are finished"
        )
    found = StreamFolder(path, mark, held["num_finished"], held["state"])
    remove_leftovers(found.piece(found.num_finished))
    return found


def read_stream(folder: Path | str) -> Streamed:
    """The outputs and mean rates of all pieces that a `stream` has finished, one after the other.

    Raises `ValueError` for a folder that holds none.
    """
    path = Path(folder)
    if not (path / STATE).exists():
        raise ValueError(
            f"folder must be one in which rl.stream has finished a piece, got {validation.shown(str(path))}"
        )
    number = load(path / STATE)["num_finished"]
    found = []
    for index in range(number):
        with np.load(path / f"piece-{index:09d}.npz", allow_pickle=False) as piece:
            found.append((piece["times"], piece["outputs"], piece["rates"]))
    times, outputs, rates = zip(*found, strict=True)
    return Streamed(
        np.concatenate(times), np.concatenate(outputs), np.concatenate(rates, axis=-1)
    )
