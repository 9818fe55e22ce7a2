"""Functions, classes and modules in the description of an experiment: names, source, and the values used from outside."""

import ast
import hashlib
import inspect
import textwrap
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ratelike._study._sweep._dependencies import (
    bytecode,
    dependencies,
    is_installed,
)

PLAIN = (bool, int, float, complex, str, bytes, np.generic, np.ndarray, jax.Array)

Describe = Callable[[Any], Any]  # of what is within


def describe_function(function: types.FunctionType, inner: Describe) -> dict[str, Any]:
    if is_installed(function.__module__):
        return {"function": name_of(function)}
    description = _with_source(function)
    # A lambda has no source of its own, only a statement around it.
    if "source" not in description:
        description["bytecode"] = bytecode(function)
    defaults = (function.__defaults__, function.__kwdefaults__)
    if any(defaults):
        description["defaults"] = inner(list(defaults))
    return _with_outside(description, dependencies(function), inner)


def describe_class(kind: type, inner: Describe) -> dict[str, Any]:
    """With what its methods use from outside, its data, and those of its bases that are the user's."""
    description = _with_source(kind)
    if is_installed(kind.__module__):
        return description
    outside, methods, data = {}, {}, {}
    for name, member in vars(kind).items():
        for wrapped in ("__func__", "fget", "method"):  # the last is Equinox's
            member = getattr(member, wrapped, member)
        if isinstance(member, types.FunctionType):
            if (
                member.__module__ != kind.__module__
            ):  # looks its names up in another module
                outside[name] = member
                continue
            outside |= dependencies(member)
            methods[name] = bytecode(member)
            defaults = (member.__defaults__, member.__kwdefaults__)
            if any(defaults):
                data[f"{name} defaults"] = list(defaults)
        elif isinstance(member, PLAIN) and not name.startswith("__"):
            data[name] = member
    if "source" not in description:
        description["bytecode"] = methods
    if data:
        description["data"] = inner(data)
    bases = [base for base in kind.__bases__ if not is_installed(base.__module__)]
    if bases:
        description["bases"] = inner(bases)
    outside = {name: used for name, used in outside.items() if used is not kind}
    return _with_outside(description, outside, inner)


def describe_module(module: types.ModuleType) -> dict[str, Any]:
    description = {"module": module.__name__}
    if not is_installed(module.__name__):
        source = _parsed(module)
        if source is not None:
            text = ast.unparse(source)
            description["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return description


def name_of(thing: Any) -> str:
    """The qualified name of a function or class, or of an object's class; ratelike's without its private modules."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    module = named.__module__
    if module is not None and module.partition(".")[0] == "ratelike":
        module = "ratelike"
    return f"{module}.{named.__qualname__}"


def _with_outside(
    description: dict[str, Any], outside: Mapping[str, Any], inner: Describe
) -> dict[str, Any]:
    uses = {}
    for name in sorted(outside):
        try:
            uses[name] = inner(outside[name])
        except ValueError as error:
            error.add_note(f"reached as {name}")
            raise
    return {**description, "uses": uses} if uses else description


def _with_source(thing: Any) -> dict[str, Any]:
    kind = "class" if isinstance(thing, type) else "function"
    description = {kind: name_of(thing)}
    source = None if is_installed(thing.__module__) else _source(thing)
    return description if source is None else {**description, "source": source}


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
