"""The file of `ratelike.save`: a line with format and digest, a line of JSON, and the bytes of arrays.

    ratelike file 1, sha256 <digest of all that follows>
    {"ratelike": version, "arrays": [[dtype, shape], ...], "tree": ...}
    <bytes of the arrays, one after the other, C order>

Every bit after the first line is in the digest, and a bit of the first line that is wrong is seen in itself. The version
is for people; what is read depends on the format alone.
"""

import hashlib
import json
import math
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ratelike._io._atomic import write_atomically
from ratelike._io._version import __version__

FORMAT = 1
FIRST_LINE = re.compile(rb"ratelike file ([1-9][0-9]{0,5}), sha256 ([0-9a-f]{64})")
DTYPE = re.compile(r"\|b1|\|[iu]1|[<>]([iu][248]|f[248]|c8|c16)")

Arrays = Sequence[Shaped[np.ndarray, "..."]]


def is_plain(dtype: np.dtype) -> bool:
    """A type of numbers that every NumPy has, and that is the same on every machine."""
    return DTYPE.fullmatch(dtype.str) is not None


def write_kept(path: Path, tree: Any, arrays: Arrays) -> None:
    """`tree` is JSON that refers to the arrays by their numbers."""
    kinds = [[array.dtype.str, list(array.shape)] for array in arrays]
    document = {"ratelike": __version__, "arrays": kinds, "tree": tree}
    text = json.dumps(document, allow_nan=False).encode()
    body = b"".join([text, b"\n", *(array.tobytes() for array in arrays)])
    digest = hashlib.sha256(body).hexdigest().encode()
    first = b"ratelike file %d, sha256 %s\n" % (FORMAT, digest)
    write_atomically(path, first + body)


def read_kept(path: Path) -> tuple[Any, list[Shaped[np.ndarray, "..."]]]:
    """Raises `ValueError` for what is no such file, for a damaged one, and for one of a later format."""
    # Opening a pipe would wait for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"path must name a file, got {path}, which is none")
    body = memoryview(_checked_body(path))
    end = bytes(body[: _line_end(body)])
    try:
        document = json.loads(end)
        return document["tree"], _arrays(document["arrays"], body[len(end) + 1 :])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise not_as_saved(path, error) from None


def not_as_saved(path: Path, error: Exception) -> ValueError:
    """The digest is right, but another program wrote the file."""
    return ValueError(
        f"path must name a file that ratelike.save wrote, got {path}, whose content is none: {error!r}"
    )


def _checked_body(path: Path) -> bytes:
    """All behind the first line, which agrees with it."""
    with path.open("rb") as file:
        match = FIRST_LINE.fullmatch(file.readline(100).removesuffix(b"\n"))
        body = file.read() if match else b""
    if match is None:
        raise ValueError(
            f"path must name a file that ratelike.save wrote, got {path}, which does not begin as one"
        )
    if int(match[1]) > FORMAT:
        raise ValueError(
            f"path must name a file of format {FORMAT} or an earlier one, got {path} of format {int(match[1])}, which a "
            "later ratelike wrote; take a newer ratelike to read it"
        )
    if hashlib.sha256(body).hexdigest().encode() != match[2]:
        raise ValueError(
            f"path must name a file that is as it was written, got {path}, which does not match its digest: it is "
            "damaged or cut short"
        )
    return body


def _line_end(body: memoryview) -> int:
    """Where the line of JSON ends; JSON has no line breaks of its own."""
    size, step = 0, 2**16
    while size < len(body):
        found = bytes(body[size : size + step]).find(b"\n")
        if found >= 0:
            return size + found
        size += step
    return len(body)


def _arrays(kinds: Any, content: memoryview) -> list[Shaped[np.ndarray, "..."]]:
    """Copies, which may be written to."""
    arrays, begin = [], 0
    for dtype, shape in kinds:
        if not DTYPE.fullmatch(dtype) or not all(
            type(size) is int and size >= 0 for size in shape
        ):
            raise ValueError(f"an array of {dtype!r} and shape {shape!r}")
        end = begin + math.prod(shape) * np.dtype(dtype).itemsize
        if end > len(content):
            raise ValueError("arrays that are larger than the file")
        array = np.frombuffer(content[begin:end], np.dtype(dtype)).reshape(shape)
        arrays.append(array.copy())
        begin = end
    if begin != len(content):
        raise ValueError("arrays that are smaller than the file")
    return arrays
