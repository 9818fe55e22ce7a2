"""One finished cell as one file: a NumPy archive (.npz) of values and facts, with a checksum over all of it.

`numpy.load(path)` opens it: arrays `values/<name>` with a leading axis of trials, `facts` (JSON: the parameters, the
block, the hash of the configuration, where and when it was computed), `sha256`. Nothing is pickled, and nothing is
compressed: to read a file never takes more memory than its size on the disk.
"""

import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ratelike._io._atomic import write_atomically


class DamagedCell(Exception):
    """The file is not what was written: cut short, overwritten, or of another sweep."""


@dataclass(frozen=True)
class FinishedCell:
    """The measurements of one cell, and the facts about them."""

    values: dict[str, Shaped[np.ndarray, "_ ..."]]  # (trials, ...)
    facts: dict[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        """The point of the axes, by its labels."""
        return self.facts["parameters"]

    @property
    def block(self) -> int:
        return self.facts["block"]

    @property
    def num_trials(self) -> int:
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
    # Opening a pipe would wait for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise DamagedCell(f"{path} is not a regular file")
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_size(archive, os.fstat(file.fileno()).st_size)
                text = str(_array(archive, "facts.npy"))
                facts = json.loads(text)
                # Known before the arrays are read: those of another sweep may be of any size.
                is_ours = (facts["configuration"], facts["index"]) == (
                    configuration,
                    index,
                )
                values = _values(archive) if is_ours else {}
                written = str(_array(archive, "sha256.npy"))
        # A damaged archive makes its reader raise almost anything.
        except Exception as error:
            raise DamagedCell(f"{path} cannot be read: {error}") from error
    if not is_ours:
        raise DamagedCell(f"{path} is of another sweep or another cell")
    if written != _checksum(values, text):
        raise DamagedCell(f"{path} does not match its checksum")
    return FinishedCell(values, facts)


def _check_size(archive: zipfile.ZipFile, size: int) -> None:
    """Nothing in the archive is larger than the file is."""
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("it is compressed, which cells are not")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its parts are larger than the file")


def _values(archive: zipfile.ZipFile) -> dict[str, Shaped[np.ndarray, "..."]]:
    names = (name for name in archive.namelist() if name.startswith("values/"))
    return {
        name.removeprefix("values/").removesuffix(".npy"): _array(archive, name)
        for name in names
    }


def _array(archive: zipfile.ZipFile, name: str) -> Shaped[np.ndarray, "..."]:
    with archive.open(name) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _checksum(values: Mapping[str, Shaped[np.ndarray, "..."]], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name in sorted(values):
        array = values[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
