"""The manifest of a folder: what is swept there, so that nothing else is mixed in."""

import json
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from ratelike._sweep._atomic import remove_leftovers, write_atomically
from ratelike._sweep._identity import hash_of

NAME = "manifest.json"
SHOWN = 5  # changes that a message lists


def open_folder(folder: Path, configuration: dict, environment: dict) -> dict:
    """The manifest of `folder`, which is made if it is new.

    Raises `ValueError` if the folder holds another configuration, or cells without a manifest. Warns if packages or
    device have changed since it was made.
    """
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
    # As the file has it: JSON knows no tuples.
    now = json.loads(json.dumps(configuration))
    changes = list(differences(manifest["configuration"], now))
    if changes:
        raise ValueError(
            f"folder must hold the same sweep, but {folder} was begun with another one; changed: "
            f"{_listed(changes)}. Take another folder, or go back to what it was"
        )
    changes = list(differences(manifest["environment"], environment))
    if changes:
        warnings.warn(
            f"{folder} was begun elsewhere, the last digits of its cells may differ: {_listed(changes)}",
            stacklevel=3,
        )
    return manifest


def read_manifest(folder: Path) -> dict:
    """Raises `ValueError` if the folder holds no manifest of a sweep."""
    path = folder / NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        intact = manifest["hash"] == hash_of(manifest["configuration"])
    except FileNotFoundError:
        raise ValueError(
            f"folder must hold a sweep, got {folder} without a {NAME}"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} must be a sweep's manifest, got {error!r}") from None
    if not intact:
        raise ValueError(f"{path} must match its hash, got an edited configuration")
    return manifest


def cells_of(folder: Path) -> Path:
    return folder / "cells"


def locks_of(folder: Path) -> Path:
    return folder / "locks"


def differences(old: Any, new: Any, where: str = ""):
    """What differs between two pieces of JSON, a line for each."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{where}.{name}" if where else name
            yield from differences(
                old.get(name, "absent"), new.get(name, "absent"), inner
            )
    elif old != new or type(old) is not type(new):
        if where.endswith((".source", ".bytecode")):
            yield f"{where} (the code itself)"
        else:
            yield f"{where} was {_short(old)}, is {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _listed(changes: list[str]) -> str:
    more = len(changes) - SHOWN
    return "; ".join(changes[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _write(path: Path, configuration: dict, environment: dict) -> None:
    manifest = {
        "format": 1,
        "configuration": configuration,
        "hash": hash_of(configuration),
        "environment": environment,
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomically(path, (json.dumps(manifest, indent=1) + "\n").encode())
