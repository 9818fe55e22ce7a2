"""The verb: write a network, or anything made of it, to a file."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Shaped

from ratelike._io._atomic import remove_leftovers
from ratelike._io._kept_classes import (
    SOLVERS,
    KnownClasses,
    default_argument,
    field_names,
    is_kept_class,
    library_of,
)
from ratelike._io._kept_file import is_plain, write_kept
from ratelike._types import PyTree


def save(path: str | os.PathLike[str], what: PyTree) -> None:
    """Writes `what` to the file `path`, from which `load` returns it, bit for bit.

        rl.save("trained.rl", {"network": fit.network, "drive": drive, "grid": grid, "losses": fit.history})
        kept = rl.load("trained.rl")
        rl.simulate(kept["network"], kept["drive"], kept["grid"], rl.GeneralisedRate())

    `what` may be any object of ratelike that holds no function (networks, layers, neurons, drives, grids, dynamics,
    states, trajectories, results of studies and of `fit`), arrays of JAX and NumPy, random keys, numbers, texts and None,
    dicts with texts or whole numbers as keys, lists, tuples and named tuples of all these, diffrax's solvers, and objects
    of classes of your own, if they are an `equinox.Module` or another dataclass: `load` has to be given these classes.

    The file has a format number and a digest, and nothing in it is code: it is no pickle. It is written in whole or not
    at all: where a file of that name exists, a reader finds the old one or the new one. An array that appears in several
    places is written once. All of it passes through memory.

    Raises `ValueError`, which names the place in `what`, for what cannot be written: functions, other objects, arrays
    within `jax.jit` (which have no values), of a type that not every machine has (bfloat16, objects), on devices
    of other processes, or weakly typed with axes.
    """
    file = _file_at(path)
    record = _Record()
    try:
        tree = record.describe(what, "what")
    except RecursionError:
        raise ValueError(
            "what must be a tree, got one that holds itself or is too deep"
        ) from None
    remove_leftovers(file)
    write_kept(file, tree, record.arrays)


class _Record:
    """The arrays met so far, each once, and the names of classes."""

    def __init__(self) -> None:
        self.arrays: list[Shaped[np.ndarray, "..."]] = []
        self._numbers: dict[int, tuple[Any, int]] = {}  # the array keeps its address
        self._known: dict[str, KnownClasses] = {}

    def describe(self, value: Any, where: str) -> Any:
        """`value` as JSON: itself, or a dict whose `is` says what it stands for."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind in (float, complex):
            # In base 16, which is exact, and has NaN and infinities.
            parts = [value.real.hex(), value.imag.hex()]
            return {"is": kind.__name__, "parts": parts[: 1 + (kind is complex)]}
        if kind is bytes:
            self.arrays.append(np.frombuffer(value, np.uint8))
            return {"is": "bytes", "number": len(self.arrays) - 1}
        if kind in (list, tuple):
            entries = [
                self.describe(entry, f"{where}[{i}]") for i, entry in enumerate(value)
            ]
            return {"is": kind.__name__, "entries": entries}
        if kind is dict:
            return {"is": "dict", "entries": self._entries(value, where)}
        if isinstance(value, (jax.Array, np.ndarray, np.generic)):
            return self._array(value, where)
        if not is_kept_class(kind):
            raise _refusal(where, value)
        return self._object(value, where)

    def _entries(self, value: dict[Any, Any], where: str) -> list[list[Any]]:
        entries = []
        for name, entry in value.items():
            if type(name) not in (str, int):
                raise ValueError(
                    f"{where} must have texts or whole numbers as keys, got {name!r}"
                )
            entries.append([name, self.describe(entry, f"{where}[{name!r}]")])
        return entries

    def _object(self, value: Any, where: str) -> dict[str, Any]:
        kind = type(value)
        name_of_class, library = self._named(kind, where)
        fields = {}
        for name in field_names(kind):
            if not hasattr(value, name):  # `field(init=False)` that nobody has set
                continue
            field = getattr(value, name)
            try:
                fields[name] = self.describe(field, f"{where}.{name}")
            except ValueError:
                # Norms, and what is told from all else by its address: they are found again where they come from.
                if library != SOLVERS or default_argument(kind, name) is not field:
                    raise
                fields[name] = {"is": "default"}
        named = {"class": name_of_class, "of": library}
        return {"is": "object", **named, "fields": fields}

    def _named(self, kind: type, where: str) -> tuple[str, str | None]:
        """The name of a class and the library in which `load` finds it; None for those that its caller names."""
        library = library_of(kind)
        if library is None:
            return kind.__name__, None
        if library not in self._known:
            self._known[library] = KnownClasses(library)
        name = self._known[library].name_of(kind)
        if name is None:
            raise ValueError(
                f"{where} must be of a class that ratelike.load can find again, got {kind.__name__}, which is internal to "
                f"{library}"
            )
        return name, library

    def _array(self, value: Any, where: str) -> dict[str, Any]:
        facts: dict[str, Any] = {"is": "array", "kind": _kind_of_array(value, where)}
        if facts["kind"] == "key":
            facts["generator"] = str(jax.random.key_impl(value))
        elif facts["kind"] == "jax" and value.weak_type:
            if value.ndim > 0:
                raise ValueError(
                    f"{where} must have a type of its own, got a weakly typed array of shape {value.shape}; make it "
                    "with jax.numpy.asarray(..., dtype=...)"
                )
            facts["kind"] = "weak"
        if id(value) not in self._numbers:
            data = jax.random.key_data(value) if facts["kind"] == "key" else value
            entries = np.asarray(data)
            if not is_plain(entries.dtype):
                raise ValueError(
                    f"{where} must hold numbers of 8 to 64 bits (each part), got {entries.dtype}"
                )
            self._numbers[id(value)] = value, len(self.arrays)
            self.arrays.append(entries)
        facts["number"] = self._numbers[id(value)][1]
        return facts


def _kind_of_array(value: Any, where: str) -> str:
    """How `load` makes it again."""
    if isinstance(value, Tracer):
        raise ValueError(
            f"{where} must have a value, got an array within jax.jit, jax.vmap or jax.grad; save what these return"
        )
    if isinstance(value, jax.Array):
        if not value.is_fully_addressable:
            raise ValueError(
                f"{where} must lie on devices of this process, got an array of several processes"
            )
        is_key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
        return "key" if is_key else "jax"
    if isinstance(value, np.generic):
        return "scalar"
    if type(value) is np.ndarray:
        return "numpy"
    raise _refusal(where, value)


def _refusal(where: str, value: Any) -> ValueError:
    name = type(value).__qualname__
    if callable(value):
        called = getattr(value, "__qualname__", name)
        return ValueError(
            f"{where} must be data, got the function {called}, which cannot be kept: make it an equinox.Module whose "
            "fields are what it uses, or leave it out and give it again after ratelike.load"
        )
    return ValueError(
        f"{where} must be made of arrays, numbers, texts, dicts, lists, tuples and dataclasses such as equinox.Module, "
        f"got {name}"
    )


def _file_at(path: Any) -> Path:
    """In a folder that is there."""
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"path must be the path of a file, got {path!r}")
    file = Path(path)
    if file.exists() and not file.is_file():
        raise ValueError(
            f"path must name a file, got {file}, which is a folder or a device"
        )
    if not file.parent.is_dir():
        raise ValueError(
            f"path must lie in a folder that exists, got {file}: there is no folder {file.parent}"
        )
    return file
