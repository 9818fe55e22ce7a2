"""A JSON description of all that determines an experiment's numbers: two runs are the same experiment if it is equal.

A function is its qualified name, its source without comments and formatting, its default arguments, and the values it
uses from outside itself: what it closes over, the data and functions among the globals it names, and those that it
takes from modules (`own.helper`), described in the same way; a class is this for its methods and bases; a module
that is used by itself is the source of its file. Of Python, installed packages and ratelike, functions and classes are
their qualified names; the versions of those that matter most are saved in the manifest too.

What this cannot see: a file that the function reads, an attribute whose name is made at run time or whose module
another function hands to it, code that is not Python, and an edit of a file whose module was imported before.
"""

import dataclasses
import functools
import hashlib
import json
import logging
import math
import threading
import types
from collections.abc import Callable, Mapping, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ratelike._study._sweep._code import (
    describe_class,
    describe_function,
    describe_module,
    name_of,
)

LARGEST_LISTED = 16  # entries of an array; of larger ones the hash is kept
LONGEST_BYTES = 1024  # of longer ones the hash is kept
NO_DATA = (logging.Logger, type(threading.Lock()), type(threading.RLock()))

Describe = Callable[[Any], Any]


def describe(value: Any) -> Any:
    """`value` as JSON types. Raises `ValueError` for an object that only its address in memory tells from others."""
    return _describe(value, _Visit(frozenset(), {}))


def hash_of(description: Any) -> str:
    """SHA-256 of what `describe` returned."""
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Visit:
    """Where in a value the description is: the objects around it, and the functions and classes described so far."""

    around: frozenset[int]  # addresses
    # By address: the object itself, so that no other gets its address, and the reference to it.
    described: dict[int, tuple[Any, dict[str, Any]]]

    def reference(self, value: Any) -> dict[str, Any] | None:
        """A reference to `value`, if it is described elsewhere."""
        if id(value) in self.around:  # an object that holds itself
            return {"again": name_of(value)}
        return self.described.get(id(value), (None, None))[1]

    def record(self, value: Any) -> None:
        """Later uses of `value` become references. Two of one name are told apart by their order."""
        reference: dict[str, Any] = {"again": name_of(value)}
        names = (each["again"] for _, each in self.described.values())
        alike = sum(name == reference["again"] for name in names)
        if alike:
            reference["number"] = alike
        self.described[id(value)] = value, reference

    def into(self, value: Any) -> "_Visit":
        """The visit of what `value` holds."""
        return _Visit(self.around | {id(value)}, self.described)

    def apart(self) -> "_Visit":
        """For one entry of several without an order: the others do not refer to it."""
        return _Visit(self.around, dict(self.described))


def _describe(value: Any, visit: _Visit) -> Any:
    # np.float64 is a float of Python, but not to JAX, where it has a type.
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        return _array(value, visit)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, bytes) and len(value) > LONGEST_BYTES:
        return {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    reference = visit.reference(value)
    if reference is not None:
        return reference
    if isinstance(value, (type, types.FunctionType)):
        visit.record(value)
        inner = functools.partial(_describe, visit=visit)
        if isinstance(value, type):
            return describe_class(value, inner)
        return describe_function(value, inner)
    inner = functools.partial(_describe, visit=visit.into(value))
    if isinstance(value, types.ModuleType):
        return describe_module(value)
    if isinstance(value, (Mapping, list, tuple, range, Set)):
        return _collection(value, inner, visit.into(value))
    if isinstance(value, functools.partial):
        names = ("func", "args", "keywords")
        return {"partial": {name: inner(getattr(value, name)) for name in names}}
    if isinstance(value, types.MethodType):
        return {"method": inner(value.__func__), "of": inner(value.__self__)}
    if hasattr(value, "__wrapped__"):  # made by jax.jit and its like
        return {"wrapped": inner(value.__wrapped__), "by": name_of(type(value))}
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: inner(getattr(value, name, None)) for name in names}
        return {**inner(type(value)), "fields": fields}
    return _other(value, inner)


def _array(value: Any, visit: _Visit) -> dict[str, Any]:
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(value))
        return {"key": str(jax.random.key_impl(value)), "data": data.tolist()}
    entries = np.asarray(value)
    facts: dict[str, Any] = {"array": str(entries.dtype), "shape": list(entries.shape)}
    if getattr(value, "weak_type", False):
        facts["weak"] = True
    kind = entries.dtype.kind
    if kind == "O" or (entries.size <= LARGEST_LISTED and kind in "biuf"):
        return {**facts, "values": _describe(entries.tolist(), visit)}
    return {**facts, "sha256": hashlib.sha256(entries.tobytes()).hexdigest()}


def _collection(value: Any, inner: Describe, visit: _Visit) -> Any:
    if isinstance(value, Mapping):
        if all(isinstance(name, str) for name in value):
            return {name: inner(entry) for name, entry in value.items()}
        return {"mapping": [[inner(name), inner(value[name])] for name in value]}
    if isinstance(value, Set):
        entries = (_describe(entry, visit.apart()) for entry in value)
        return {"set": sorted(entries, key=json.dumps)}
    entries = [inner(entry) for entry in value]
    kind = next(each for each in (list, tuple, range) if isinstance(value, each))
    return entries if kind is list else {kind.__name__: entries}


def _other(value: Any, inner: Describe) -> dict[str, Any]:
    if isinstance(value, NO_DATA):
        return {"object": name_of(type(value))}
    state = getattr(value, "__dict__", None)
    if state is not None:
        return {**inner(type(value)), "state": inner(state)}
    text = repr(value)
    if " at 0x" in text:
        raise ValueError(
            f"a sweep cannot tell {text} from another object of its kind in a later run; give it fields, "
            "or make it where it is used"
        )
    return {"object": text}
