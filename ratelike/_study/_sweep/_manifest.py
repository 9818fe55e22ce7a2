"""The manifest of a folder: what is swept there, so that nothing else is mixed in."""

import json
import stat
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from ratelike._io._atomic import remove_leftovers, write_atomically
from ratelike._study._sweep._description import hash_of

NAME = "manifest.json"
CLAIM = "claim.json"  # in the folder of the locks, to be deleted with them
# 1: descriptions of functions did not follow modules, nor some types.
# 2: names of ratelike's classes and functions included their private modules.
# The cells are the same in all formats.
FORMAT = 3
SHOWN = 5  # changes that a message lists

Json = dict[str, Any]


def open_folder(
    folder: Path, configuration: Json, environment: Json, claim: Json
) -> Json:
    """The manifest of `folder`, which is made if it is new.

    Raises `ValueError` if the folder holds another configuration, an earlier format or cells without a manifest, or if
    its cells are claimed in another way. Warns if packages or device have changed since it was made.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder must be a directory, got the file {folder}")
    for needed in (cells_of(folder), locks_of(folder)):
        needed.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    # Two processes may begin at once: one of them writes.
    with filelock.FileLock(locks_of(folder) / f"{NAME}.lock"):
        if not path.exists():
            if any(cells_of(folder).glob("*.npz")):
                raise ValueError(
                    f"folder must hold a {NAME} beside its cells, got none in {folder}"
                )
            remove_leftovers(path)
            _write(path, configuration, environment)
        manifest = read_manifest(folder)
        _check_configuration(folder, manifest, configuration)
        _check_claim(folder, claim)
    changes = list(differences(manifest["environment"], environment))
    if changes:
        warnings.warn(
            f"{folder} was begun elsewhere, the last digits of its cells may differ: {_listed(changes)}",
            stacklevel=3,
        )
    return manifest


def read_manifest(folder: Path) -> Json:
    """Raises `ValueError` if the folder holds no manifest of a sweep, or one of a later ratelike."""
    path = folder / NAME
    try:
        manifest = _read(path)
        if not isinstance(manifest["format"], int):
            raise TypeError(f"format {manifest['format']!r}")
        known = manifest["format"] <= FORMAT
        # How a later one is hashed is not known here.
        intact = not known or manifest["hash"] == hash_of(manifest["configuration"])
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"folder must hold a sweep, got {folder} without a {NAME}"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} must be a sweep's manifest, got {error!r}") from None
    if not known:
        raise ValueError(
            f"{path} must be of format {FORMAT} or an earlier one, got format {manifest['format']} of a later "
            "ratelike; take a newer ratelike to read it"
        )
    if not intact:
        raise ValueError(f"{path} must match its hash, got an edited configuration")
    return manifest


def folder_of(folder: Any) -> Path:
    """The argument `folder` of `sweep` and `read_sweep`."""
    try:
        return Path(folder)
    except TypeError:
        raise ValueError(f"folder must be a path, got {folder!r}") from None


def cells_of(folder: Path) -> Path:
    return folder / "cells"


def path_of(folder: Path, index: int) -> Path:
    return cells_of(folder) / f"{index:06d}.npz"


def cell_files(folder: Path) -> list[tuple[int, Path]]:
    """Files with the name of a cell, in order; no copies, which are called otherwise."""
    indices = (
        int(path.stem)
        for path in cells_of(folder).glob("*.npz")
        if path.stem.isdecimal() and path == path_of(folder, int(path.stem))
    )
    return [(index, path_of(folder, index)) for index in sorted(indices)]


def locks_of(folder: Path) -> Path:
    return folder / "locks"


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """What differs between two pieces of JSON, a line for each."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{where}.{name}" if where else name
            yield from differences(
                old.get(name, "absent"), new.get(name, "absent"), inner
            )
    # As text: 1, 1.0 and True are equal, also within a list.
    elif json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True):
        if where.endswith((".source", ".bytecode")):
            yield f"{where} (the code itself)"
        else:
            yield f"{where} was {_short(old)}, is {_short(new)}"


def _check_configuration(folder: Path, manifest: Json, configuration: Json) -> None:
    if manifest["format"] < FORMAT:
        raise ValueError(
            f"folder must be of format {FORMAT} to go on, but {folder} was begun by an earlier ratelike (format "
            f"{manifest['format']}), which described a sweep in another way; read_sweep reads what it holds, take another "
            "folder"
        )
    # As in the file: JSON has no tuples.
    now = json.loads(json.dumps(configuration))
    changes = list(differences(manifest["configuration"], now))
    if changes:
        raise ValueError(
            f"folder must hold the same sweep, but {folder} was begun with another one; changed: "
            f"{_listed(changes)}. Take another folder, or go back to what it was"
        )


def _check_claim(folder: Path, claim: Json) -> None:
    """All processes must use one kind of lock: a lock file that one kind leaves behind is held for ever in another's eyes."""
    path = locks_of(folder) / CLAIM
    if not path.exists():
        remove_leftovers(path)
        write_atomically(path, (json.dumps(claim) + "\n").encode())
    try:
        begun = _read(path)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} must say how cells are claimed, got {error!r}"
        ) from None
    if begun != claim:
        raise ValueError(
            f"claim must be the one that {folder} was begun with, {_short(begun)}, got {_short(claim)}. To change it, "
            f"end every process that runs this sweep and delete {locks_of(folder)}"
        )


def _read(path: Path) -> Any:
    """The JSON in a regular file: opening a pipe would wait for a writer."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    return json.loads(path.read_text(encoding="utf-8"))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _listed(changes: list[str]) -> str:
    more = len(changes) - SHOWN
    return "; ".join(changes[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _write(path: Path, configuration: Json, environment: Json) -> None:
    manifest = {
        "format": FORMAT,
        "configuration": configuration,
        "hash": hash_of(configuration),
        "environment": environment,
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomically(path, (json.dumps(manifest, indent=1) + "\n").encode())
