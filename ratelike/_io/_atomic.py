"""Files that are there in whole or not at all."""

import contextlib
import glob
import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes beside `path`, waits for the disk, then renames: no reader and no power cut sees half of it."""
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
    """What a process that was killed while writing `path` left behind. Only who may write `path` may call this."""
    token = "[0-9a-f]" * 16  # and no file of the user's
    for leftover in path.parent.glob(f"{glob.escape(path.name)}.{token}.part"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """The new name is on the disk as well, where the system lets folders be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
