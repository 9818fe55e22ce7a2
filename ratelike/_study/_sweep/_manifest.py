"""The manifest of a folder: what is swept there, so that nothing else is mixed in."""

import json
import stat
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from ratelike._io._atomic import remove_leftovers, write_atomically
from ratelike._study._sweep._description import hash_of
from ratelike._study._sweep._differences import differences, listed, short
from ratelike._study._sweep._extension import Asked, begin, changes_of, extended

NAME = "manifest.json"
CLAIM = "claim.json"  # in the folder of the locks, to be deleted with them
# 1: descriptions of functions did not follow modules, nor some types.
# 2: names of ratelike's classes and functions included their private modules.
# 3: a sweep that was not extended.
# 4: one that was, with its earlier stages.
# The cells are the same in all formats.
FORMAT, GOES_ON = 4, 3

Json = dict[str, Any]


def open_folder(
    folder: Path, asked: Asked, extend: bool, environment: Json, claim: Json
) -> Json:
    """The manifest of `folder`, which is made if it is new, and changed if the sweep is extended.

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
            now = datetime.now(UTC).isoformat(timespec="seconds")
            _write(path, begin(asked), {"environment": environment, "begun": now})
        manifest = read_manifest(folder)
        held = manifest["configuration"]
        asked_for = _checked_configuration(folder, manifest, asked, extend)
        _check_claim(folder, claim)
        if asked_for != held:
            remove_leftovers(path)
            _write(path, asked_for, manifest)
            manifest = read_manifest(folder)
    changes = list(differences(manifest["environment"], environment))
    if changes:
        warnings.warn(
            f"{folder} was begun elsewhere, the last digits of its cells may differ: {listed(changes)}",
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


def _checked_configuration(
    folder: Path, manifest: Json, asked: Asked, extend: bool
) -> Json:
    """The configuration that the folder is to have."""
    if manifest["format"] < GOES_ON:
        raise ValueError(
            f"folder must be of format {GOES_ON} to go on, but {folder} was begun by an earlier ratelike (format "
            f"{manifest['format']}), which described a sweep in another way; read_sweep reads what it holds, take another "
            "folder"
        )
    held = manifest["configuration"]
    changes = changes_of(held, asked)
    if not changes:
        return held
    larger = extended(held, asked)
    if isinstance(larger, dict):
        if extend:
            return larger
        way = "Take another folder, go back to what it was, or keep what is finished with extend=True"
    else:
        changes = larger
        way = "Take another folder, or go back to what it was"
        if extend:
            way += (
                ": extend=True adds trials and values of axes, and changes nothing else"
            )
    raise ValueError(
        f"folder must hold the same sweep, but {folder} was begun with another one; changed: {listed(changes)}. {way}"
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
            f"claim must be the one that {folder} was begun with, {short(begun)}, got {short(claim)}. To change it, "
            f"end every process that runs this sweep and delete {locks_of(folder)}"
        )


def _read(path: Path) -> Any:
    """The JSON in a regular file: opening a pipe would wait for a writer."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, configuration: Json, others: Json) -> None:
    manifest = {
        **others,
        "format": FORMAT if "stages" in configuration else GOES_ON,
        "configuration": configuration,
        "hash": hash_of(configuration),
    }
    write_atomically(path, (json.dumps(manifest, indent=1) + "\n").encode())
