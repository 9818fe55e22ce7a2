"""What an experiment is made of, written down as JSON: two runs are the same experiment if this text is the same.

A function is its qualified name, its source without comments and formatting, its default arguments, and the values it
uses from outside itself: what it closes over, and the data and functions among the globals it names, followed in the
same way; a class is this for its methods and bases. Functions and classes of installed packages and of ratelike are their qualified names; their versions are
kept beside. What this cannot see: a file that the function reads, and what it reaches by a name made at run time.
"""

import ast
import dataclasses
import functools
import hashlib
import inspect
import json
import math
import sys
import sysconfig
import textwrap
import types
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LARGEST_LISTED = (
    16  # entries of an array that are listed; of larger ones the hash is kept
)


def identify(value: Any) -> Any:
    """`value` as JSON types. Raises `ValueError` for an object that only its address in memory tells from others."""
    return _identify(value, frozenset())


def hash_of(identity: Any) -> str:
    """SHA-256 of what `identify` returned."""
    text = json.dumps(identity, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _identify(value: Any, within: frozenset[int]) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, np.generic):
        return _identify(value.item(), within)
    if isinstance(value, (jax.Array, np.ndarray)):
        return _array(value)
    if id(value) in within:  # a function that names itself, an object that holds itself
        return {"again": _name(value)}
    inner = functools.partial(_identify, within=within | {id(value)})
    if isinstance(value, Mapping):
        return {str(name): inner(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [inner(entry) for entry in value]
    if isinstance(value, Set):
        return sorted((inner(entry) for entry in value), key=json.dumps)
    if isinstance(value, types.ModuleType):
        return {"module": value.__name__}
    if isinstance(value, type):
        return _class(value, inner)
    if isinstance(value, functools.partial):
        names = ("func", "args", "keywords")
        return {"partial": {name: inner(getattr(value, name)) for name in names}}
    if isinstance(value, types.MethodType):
        return {"method": inner(value.__func__), "of": inner(value.__self__)}
    if isinstance(value, types.FunctionType):
        return _function(value, inner)
    if hasattr(value, "__wrapped__"):  # made by jax.jit and its like
        return {"wrapped": inner(value.__wrapped__), "by": _name(type(value))}
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: inner(getattr(value, name, None)) for name in names}
        return {**inner(type(value)), "fields": fields}
    return _other(value, inner)


def _array(value: Any) -> dict:
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(value))
        return {"key": str(jax.random.key_impl(value)), "data": data.tolist()}
    entries = np.asarray(value)
    facts = {"array": str(entries.dtype), "shape": list(entries.shape)}
    if entries.size <= LARGEST_LISTED and entries.dtype.kind in "biuf":
        return {**facts, "values": _identify(entries.tolist(), frozenset())}
    return {**facts, "sha256": hashlib.sha256(entries.tobytes()).hexdigest()}


def _function(function: types.FunctionType, inner) -> dict:
    if _is_installed(function.__module__):
        return {"function": _name(function)}
    identity = _with_source(function)
    if (
        "source" not in identity
    ):  # a lambda has none of its own, only a statement around it
        identity["bytecode"] = _bytecode(function)
    defaults = (function.__defaults__, function.__kwdefaults__)
    if any(defaults):
        identity["defaults"] = inner(list(defaults))
    outside = _outside(function)
    if outside:
        identity["uses"] = {name: inner(used) for name, used in outside.items()}
    return identity


def _class(kind: type, inner) -> dict:
    """With what its methods use from outside, and with those of its bases that are the user's."""
    identity = _with_source(kind)
    if _is_installed(kind.__module__):
        return identity
    outside, methods = {}, {}
    for name, member in vars(kind).items():
        for wrapped in ("__func__", "fget", "method"):  # the last is Equinox's
            member = getattr(member, wrapped, member)
        if isinstance(member, types.FunctionType):
            outside |= _outside(member)
            methods[name] = _bytecode(member)
    if "source" not in identity:
        identity["bytecode"] = methods
    outside = {name: used for name, used in outside.items() if used is not kind}
    bases = [base for base in kind.__bases__ if not _is_installed(base.__module__)]
    if outside:
        identity["uses"] = {name: inner(outside[name]) for name in sorted(outside)}
    if bases:
        identity["bases"] = inner(bases)
    return identity


def _outside(function: types.FunctionType) -> dict[str, Any]:
    """What the function names and does not define: globals other than modules, and what it closes over."""
    outside = {}
    for name in sorted(_names(function.__code__)):
        used = function.__globals__.get(name)
        if used is not None and not isinstance(used, types.ModuleType):
            outside[name] = used
    for name, cell in zip(
        function.__code__.co_freevars, function.__closure__ or (), strict=True
    ):
        if name != "__class__":
            outside[name] = cell.cell_contents
    return outside


def _other(value: Any, inner) -> dict:
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
    source = None if _is_installed(thing.__module__) else _source(thing)
    return identity if source is None else {**identity, "source": source}


def _source(thing: Any) -> str | None:
    """Without comments, blank lines and line breaks, which do not make another experiment. None if it is not known."""
    try:
        (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
    except (OSError, TypeError, SyntaxError, ValueError):  # typed in at a prompt
        return None
    # `inspect` may be wrong about a class that is not in the file of its module: in a notebook.
    return (
        ast.unparse(parsed) if getattr(parsed, "name", "") == thing.__name__ else None
    )


def _name(thing: Any) -> str:
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def _is_installed(module: str | None) -> bool:
    root = (module or "builtins").partition(".")[0]
    if root == "__main__":  # also where a notebook's server is the program
        return False
    if root in sys.builtin_module_names or root == "ratelike":
        return True
    file = getattr(sys.modules.get(root), "__file__", None)
    if file is None:
        return root in sys.stdlib_module_names
    paths = sysconfig.get_paths()
    # A virtual environment may lie within a project: its packages are below purelib, the project's files are not.
    return any(
        Path(paths[kind]) in Path(file).parents
        for kind in ("purelib", "platlib", "stdlib", "platstdlib")
    )


def _names(code: types.CodeType) -> set[str]:
    """Names that the code and the functions within it look up."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def _bytecode(function: Any) -> str:
    digest = hashlib.sha256()

    def add(code: types.CodeType) -> None:
        digest.update(code.co_code)
        digest.update(repr(code.co_names).encode())
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                add(constant)
            else:
                digest.update(repr(constant).encode())

    add(function.__code__)
    return digest.hexdigest()
