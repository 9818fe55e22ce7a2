"""One finished cell as one file: a NumPy archive (.npz) that says what it holds, with a checksum over all of it.

`numpy.load(path)` opens it: arrays `values/<name>` with a leading axis of trials, `facts` (JSON: the parameters, the
block, the hash of the configuration, where and when it was computed), `sha256`. Nothing is pickled.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ratelike._sweep._atomic import write_atomically


class DamagedCell(Exception):
    """The file is not what was written: cut short, overwritten, or of another sweep."""


@dataclass(frozen=True)
class FinishedCell:
    """The measurements of one cell, and the facts about them."""

    values: dict[str, np.ndarray]  # each with a leading axis of trials
    facts: dict[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        """The point of the axes, by its labels."""
        return self.facts["parameters"]

    @property
    def block(self) -> int:
        return self.facts["block"]

    @property
    def trials(self) -> int:
        return self.facts["trials"]

    @property
    def neuron_steps(self) -> int:
        """Neurons of all layers and trials, times steps."""
        return self.facts["neuron_steps"]


def write_cell(path: Path, cell: FinishedCell) -> None:
    facts = json.dumps(cell.facts)
    arrays = {f"values/{name}": array for name, array in cell.values.items()}
    archive = io.BytesIO()
    np.savez(
        archive,
        allow_pickle=False,
        facts=np.asarray(facts),
        sha256=np.asarray(_checksum(cell.values, facts)),
        **arrays,
    )
    write_atomically(path, archive.getvalue())


def read_cell(path: Path, *, configuration: str, index: int) -> FinishedCell:
    """Raises `FileNotFoundError` if there is none, `DamagedCell` unless it is cell `index` of this configuration."""
    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        text = str(arrays.pop("facts"))
        written = str(arrays.pop("sha256"))
        values = {name.removeprefix("values/"): arrays[name] for name in arrays}
        facts = json.loads(text)
        intact = written == _checksum(values, text)
        ours = (facts["configuration"], facts["index"]) == (configuration, index)
    # A damaged archive makes its reader raise almost anything.
    except Exception as error:
        raise DamagedCell(f"{path} cannot be read: {error}") from error
    if not intact:
        raise DamagedCell(f"{path} does not match its checksum")
    if not ours:
        raise DamagedCell(f"{path} is of another sweep or another cell")
    return FinishedCell(values, facts)


def _checksum(values: Mapping[str, np.ndarray], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name in sorted(values):
        array = values[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
