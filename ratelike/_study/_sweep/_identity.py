"""What an experiment is made of, written down as JSON: two runs are the same experiment if this text is the same.

A function is its qualified name, its source without comments and formatting, its default arguments, and the values it
uses from outside itself: what it closes over, the data and functions among the globals it names, and those that it
reaches through modules (`own.helper`), followed in the same way; a class is this for its methods and bases; a module
that is used by itself is the source of its file. Of Python, installed packages and ratelike, functions and classes are
their qualified names; the versions of those that matter most are kept beside.

What this cannot see: a file that the function reads, what it reaches by a name made at run time or through a module
that another function hands to it, code that is not Python, and an edit of a file whose module was imported before.
"""

import ast
import dataclasses
import functools
import hashlib
import inspect
import json
import logging
import math
import textwrap
import threading
import types
from collections.abc import Mapping, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ratelike._study._sweep._reach import bytecode, is_installed, reached

LARGEST_LISTED = 16  # entries of an array; of larger ones the hash is kept
NO_DATA = (logging.Logger, type(threading.Lock()), type(threading.RLock()))
PLAIN = (bool, int, float, complex, str, bytes, np.generic, np.ndarray, jax.Array)


def identify(value: Any) -> Any:
    """`value` as JSON types. Raises `ValueError` for an object that only its address in memory tells from others."""
    return _identify(value, _Walk(frozenset(), {}))


def hash_of(identity: Any) -> str:
    """SHA-256 of what `identify` returned."""
    text = json.dumps(identity, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Walk:
    """The way to a value: what it lies within, and the functions and classes that are written down already."""

    within: frozenset[int]
    # By address: the thing itself, which keeps the address its own, and how to refer to it.
    written: dict[int, tuple[Any, dict]]

    def again(self, value: Any) -> dict | None:
        """A reference, if `value` need not be written down once more."""
        if id(value) in self.within:  # an object that holds itself
            return {"again": _name(value)}
        return self.written.get(id(value), (None, None))[1]

    def write(self, value: Any) -> None:
        """Functions that many others use appear once. Two of one name are told apart by their order."""
        reference: dict[str, Any] = {"again": _name(value)}
        names = (each["again"] for _, each in self.written.values())
        alike = sum(name == reference["again"] for name in names)
        if alike:
            reference["number"] = alike
        self.written[id(value)] = value, reference

    def into(self, value: Any) -> "_Walk":
        return _Walk(self.within | {id(value)}, self.written)

    def aside(self) -> "_Walk":
        """For one entry of several without an order: what is written there does not count for the others."""
        return _Walk(self.within, dict(self.written))


def _identify(value: Any, walk: _Walk) -> Any:
    # np.float64 is a float of Python, but not to JAX, where it has a type.
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        return _array(value, walk)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    reference = walk.again(value)
    if reference is not None:
        return reference
    if isinstance(value, (type, types.FunctionType)):
        walk.write(value)
        inner = functools.partial(_identify, walk=walk)
        if isinstance(value, type):
            return _class(value, inner)
        return _function(value, inner)
    inner = functools.partial(_identify, walk=walk.into(value))
    if isinstance(value, types.ModuleType):
        return _module(value)
    if isinstance(value, (Mapping, list, tuple, range, Set)):
        return _collection(value, inner, walk.into(value))
    if isinstance(value, functools.partial):
        names = ("func", "args", "keywords")
        return {"partial": {name: inner(getattr(value, name)) for name in names}}
    if isinstance(value, types.MethodType):
        return {"method": inner(value.__func__), "of": inner(value.__self__)}
    if hasattr(value, "__wrapped__"):  # made by jax.jit and its like
        return {"wrapped": inner(value.__wrapped__), "by": _name(type(value))}
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: inner(getattr(value, name, None)) for name in names}
        return {**inner(type(value)), "fields": fields}
    return _other(value, inner)


def _array(value: Any, walk: _Walk) -> dict:
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(value))
        return {"key": str(jax.random.key_impl(value)), "data": data.tolist()}
    entries = np.asarray(value)
    facts = {"array": str(entries.dtype), "shape": list(entries.shape)}
    if getattr(value, "weak_type", False):
        facts["weak"] = True
    kind = entries.dtype.kind
    if kind == "O" or (entries.size <= LARGEST_LISTED and kind in "biuf"):
        return {**facts, "values": _identify(entries.tolist(), walk)}
    return {**facts, "sha256": hashlib.sha256(entries.tobytes()).hexdigest()}


def _collection(value: Any, inner, walk: _Walk) -> Any:
    if isinstance(value, Mapping):
        if all(isinstance(name, str) for name in value):
            return {name: inner(entry) for name, entry in value.items()}
        return {"mapping": [[inner(name), inner(value[name])] for name in value]}
    if isinstance(value, Set):
        entries = (_identify(entry, walk.aside()) for entry in value)
        return {"set": sorted(entries, key=json.dumps)}
    entries = [inner(entry) for entry in value]
    kind = next(each for each in (list, tuple, range) if isinstance(value, each))
    return entries if kind is list else {kind.__name__: entries}


def _function(function: types.FunctionType, inner) -> dict:
    if is_installed(function.__module__):
        return {"function": _name(function)}
    identity = _with_source(function)
    # A lambda has no source of its own, only a statement around it.
    if "source" not in identity:
        identity["bytecode"] = bytecode(function)
    defaults = (function.__defaults__, function.__kwdefaults__)
    if any(defaults):
        identity["defaults"] = inner(list(defaults))
    return _with_outside(identity, reached(function), inner)


def _class(kind: type, inner) -> dict:
    """With what its methods use from outside, its data, and those of its bases that are the user's."""
    identity = _with_source(kind)
    if is_installed(kind.__module__):
        return identity
    outside, methods, data = {}, {}, {}
    for name, member in vars(kind).items():
        for wrapped in ("__func__", "fget", "method"):  # the last is Equinox's
            member = getattr(member, wrapped, member)
        if isinstance(member, types.FunctionType):
            if member.__module__ != kind.__module__:  # its names are not ours
                outside[name] = member
                continue
            outside |= reached(member)
            methods[name] = bytecode(member)
            defaults = (member.__defaults__, member.__kwdefaults__)
            if any(defaults):
                data[f"{name} defaults"] = list(defaults)
        elif isinstance(member, PLAIN) and not name.startswith("__"):
            data[name] = member
    if "source" not in identity:
        identity["bytecode"] = methods
    if data:
        identity["data"] = inner(data)
    bases = [base for base in kind.__bases__ if not is_installed(base.__module__)]
    if bases:
        identity["bases"] = inner(bases)
    outside = {name: used for name, used in outside.items() if used is not kind}
    return _with_outside(identity, outside, inner)


def _with_outside(identity: dict, outside: Mapping[str, Any], inner) -> dict:
    uses = {}
    for name in sorted(outside):
        try:
            uses[name] = inner(outside[name])
        except ValueError as error:
            error.add_note(f"reached as {name}")
            raise
    return {**identity, "uses": uses} if uses else identity


def _module(module: types.ModuleType) -> dict:
    identity = {"module": module.__name__}
    if not is_installed(module.__name__):
        source = _parsed(module)
        if source is not None:
            text = ast.unparse(source)
            identity["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return identity


def _other(value: Any, inner) -> dict:
    if isinstance(value, NO_DATA):
        return {"object": _name(type(value))}
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


def _with_source(thing: Any) -> dict[str, Any]:
    kind = "class" if isinstance(thing, type) else "function"
    identity = {kind: _name(thing)}
    source = None if is_installed(thing.__module__) else _source(thing)
    return identity if source is None else {**identity, "source": source}


def _source(thing: Any) -> str | None:
    """Without comments, blank lines and line breaks, which do not make another experiment. None if it is not known."""
    # Of a decorated function the code that runs, which is the decorator's: `inspect` looks behind it otherwise.
    code = getattr(thing, "__code__", None)
    parsed = _parsed(code or thing)
    name = code.co_name if code else thing.__name__
    # `inspect` may be wrong about a class that is not in the file of its module: in a notebook.
    names = [getattr(each, "name", "") for each in parsed.body] if parsed else []
    return ast.unparse(parsed) if parsed and names == [name] else None


def _parsed(thing: Any) -> ast.Module | None:
    """The source of a module, class or code, if it is known: what is typed in at a prompt is not."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None


def _name(thing: Any) -> str:
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"
