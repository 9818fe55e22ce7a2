"""Files that are written in whole or not at all."""

import contextlib
import glob
import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file next to `path`, waits for the disk, then renames it: a reader or a power cut never meets half of it."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Removes what a process that was killed while writing `path` has left. No other process may write `path` meanwhile."""
    token = "[0-9a-f]" * 16  # and no file of the user's
    for leftover in path.parent.glob(f"{glob.escape(path.name)}.{token}.part"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Writes the new name to the disk, on systems on which folders can be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
