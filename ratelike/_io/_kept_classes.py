"""Which classes files of `ratelike.save` may name, and how: by a name that does not tell which private module they are in.

A file never makes Python import anything: classes are looked up among those of ratelike that are imported already, among
diffrax's public ones, and among those that the caller of `load` names.
"""

import dataclasses
import inspect
import sys
from collections.abc import Iterable
from typing import Any

OWN, SOLVERS = "ratelike", "diffrax"


def is_kept_class(kind: type) -> bool:
    """Its objects are their fields: a dataclass, such as every `equinox.Module`, or a named tuple."""
    return dataclasses.is_dataclass(kind) or is_named_tuple(kind)


def is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def field_names(kind: type) -> list[str]:
    if is_named_tuple(kind):
        return list(getattr(kind, "_fields"))  # noqa: B009
    return [field.name for field in dataclasses.fields(kind)]


def defaults(kind: type) -> dict[str, Any]:
    """Defaults of those fields that have one."""
    if is_named_tuple(kind):
        return dict(getattr(kind, "_field_defaults"))  # noqa: B009
    found = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


def default_argument(kind: type, name: str) -> Any:
    """What the constructor takes for `name` where nothing is given; None if there is no such default."""
    parameter = inspect.signature(kind).parameters.get(name)
    if parameter is None or parameter.default is parameter.empty:
        return None
    return parameter.default


def library_of(kind: type) -> str | None:
    """The library that a class is from, if files name it so; None if it is the user's."""
    top = kind.__module__.partition(".")[0]
    return top if top in (OWN, SOLVERS) else None


def known_classes(library: str) -> dict[str, type]:
    """Classes of a library by name. Two of one name are internal to their modules, and are left out."""
    if library == SOLVERS:
        return _classes_in([SOLVERS])
    modules = [name for name in list(sys.modules) if f"{name}.".startswith(f"{OWN}.")]
    return _classes_in(modules)


def _classes_in(modules: Iterable[str]) -> dict[str, type]:
    library, found = None, {}
    for module in modules:
        library = module.partition(".")[0]
        for thing in list(vars(sys.modules[module]).values()):
            if (
                isinstance(thing, type)
                and library_of(thing) == library
                and not thing.__name__.startswith("_")
                and is_kept_class(thing)
            ):
                found.setdefault(thing.__name__, set()).add(thing)
    return {name: kinds.pop() for name, kinds in found.items() if len(kinds) == 1}
