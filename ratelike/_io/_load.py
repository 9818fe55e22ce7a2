"""The verb: read what `save` has written."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from ratelike._io._kept_classes import (
    OWN,
    SOLVERS,
    KnownClasses,
    default_argument,
    defaults,
    field_names,
    is_kept_class,
    is_named_tuple,
)
from ratelike._io._kept_file import not_as_saved, read_kept
from ratelike._types import PyTree

WIDE = (np.int64, np.float64, np.complex128)  # with `jax_enable_x64`


def load(path: str | os.PathLike[str], *, classes: Sequence[type] = ()) -> PyTree:
    """What `save` has written to the file `path`: of the same classes, with the same bits, on the default device.

        network = rl.load("trained.rl", classes=[MyNeuron])

    Nothing that the file says is run or imported, so that a file from elsewhere is as harmless as a picture: only classes
    of ratelike, public ones of diffrax, and `classes` are made, and of these only the fields are set (no `__init__` runs,
    and values that a constructor would refuse are not refused here). `classes` are those of your own in the file; they
    are known by their names, wherever they are defined.

    A class may have gained fields with a default since the file was written, which they then get; a file with fields
    that a class does not have, or without those that it needs, is refused.

    Raises `ValueError`, which names the file, if it is no file of `save`, of a later format, or damaged in a single bit;
    for classes that are missing or have changed; for arrays of 64 bits where JAX has these switched off (NumPy's are
    returned in any case). `FileNotFoundError` if there is none.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"path must be the path of a file, got {path!r}")
    file, named = Path(path), _by_name(classes)
    tree, arrays = read_kept(file)
    reader = _Reader(file, arrays, named)
    try:
        return reader.rebuild(tree, "what")
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise not_as_saved(file, error) from None


class _Reader:
    """Makes objects from their descriptions."""

    def __init__(
        self,
        file: Path,
        arrays: list[Shaped[np.ndarray, "..."]],
        named: dict[str, type],
    ) -> None:
        self._file = file
        self._arrays = arrays
        self._named = named
        self._known = {library: KnownClasses(library) for library in (OWN, SOLVERS)}
        self._made: dict[tuple[str, int], Any] = {}  # by kind and number

    def rebuild(self, tree: Any, where: str) -> Any:
        if not isinstance(tree, dict):
            return tree
        kind = tree["is"]
        if kind == "float":
            return float.fromhex(*tree["parts"])
        if kind == "complex":
            return complex(*map(float.fromhex, tree["parts"]))
        if kind == "bytes":
            return self._arrays[tree["number"]].tobytes()
        if kind in ("list", "tuple"):
            entries = [
                self.rebuild(entry, f"{where}[{i}]")
                for i, entry in enumerate(tree["entries"])
            ]
            return entries if kind == "list" else tuple(entries)
        if kind == "dict":
            return {
                name: self.rebuild(entry, f"{where}[{name!r}]")
                for name, entry in tree["entries"]
            }
        if kind == "array":
            return self._array(tree, where)
        if kind == "object":
            return self._object(tree, where)
        raise KeyError(kind)

    def _object(self, tree: dict[str, Any], where: str) -> Any:
        kind = self._class(tree, where)
        names, fields = field_names(kind), {}
        for name, field in tree["fields"].items():
            if field == {"is": "default"}:  # of a class of diffrax
                fields[name] = default_argument(kind, name)
            else:
                fields[name] = self.rebuild(field, f"{where}.{name}")
        missing = set(names) - set(fields)
        usual = defaults(kind) if missing else {}
        if not set(fields) <= set(names) or not missing <= set(usual):
            raise ValueError(
                f"{where} in {self._file} is a {kind.__name__} of another version, with the fields "
                f"{list(tree['fields'])}; now {kind.__name__} has {names}"
            )
        values = {
            name: fields[name] if name in fields else usual[name] for name in names
        }
        if is_named_tuple(kind):
            return tuple.__new__(kind, values.values())
        made = object.__new__(kind)
        for name, value in values.items():
            object.__setattr__(made, name, value)
        return made

    def _class(self, tree: dict[str, Any], where: str) -> type:
        name, library = tree["class"], tree["of"]
        if library is None:
            kind = self._named.get(name)
        else:
            kind = self._known[library].named(name)
        if kind is not None:
            return kind
        if library is None:
            raise ValueError(
                f"classes must name {name}, the class of {where} in {self._file}, got "
                f"{sorted(self._named)}: load(path, classes=[{name}])"
            )
        raise ValueError(
            f"{where} in {self._file} is a {library}.{name}, which this version of {library} does not have"
        )

    def _array(self, tree: dict[str, Any], where: str) -> Any:
        kind, number = tree["kind"], tree["number"]
        if number < 0:
            raise IndexError(number)
        if (kind, number) not in self._made:
            array = self._arrays[number]
            if kind == "key":
                made = self._key(array, tree["generator"], where)
            elif kind in ("jax", "weak"):
                made = self._jax_array(array, where)
                if kind == "weak":  # as a number of Python is
                    with jax.enable_x64(array.dtype in WIDE):
                        made = jnp.asarray(array.item())
            elif kind == "numpy":
                made = array
            elif kind == "scalar":
                made = array[()]
            else:
                raise KeyError(kind)
            self._made[kind, number] = made
        return self._made[kind, number]

    def _jax_array(self, array: Shaped[np.ndarray, "..."], where: str) -> Array:
        if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
            raise ValueError(
                f"{where} in {self._file} is an array of {array.dtype}, which JAX has only with "
                'jax.config.update("jax_enable_x64", True) at the top of the script'
            )
        return jnp.asarray(array)

    def _key(
        self, data: Shaped[np.ndarray, "..."], generator: str, where: str
    ) -> Array:
        try:
            return jax.random.wrap_key_data(jnp.asarray(data), impl=generator)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{where} in {self._file} is a random key of the generator {generator!r}, which this JAX does not "
                f"have: {error}"
            ) from None


def _by_name(classes: Any) -> dict[str, type]:
    """The caller's classes."""
    if not isinstance(classes, Sequence):
        raise ValueError(f"classes must list classes, got {classes!r}")
    named: dict[str, type] = {}
    for kind in classes:
        if not isinstance(kind, type) or not is_kept_class(kind):
            raise ValueError(
                f"classes must be dataclasses, such as equinox.Module, or named tuples, got {kind!r}"
            )
        if named.setdefault(kind.__name__, kind) is not kind:
            raise ValueError(
                f"classes must have names that differ, got two called {kind.__name__}"
            )
    return named
