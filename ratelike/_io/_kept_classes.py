"""Which classes files of `ratelike.save` may name, and how: by a name that says little of the private module they are in.

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


class KnownClasses:
    """Classes of a library by name: public ones by their own, others with the last part of their module before it.

    Where a module has moved since, its class is found by its own name alone, if there is only one.
    """

    def __init__(self, library: str) -> None:
        names = list(sys.modules) if library == OWN else [library]
        modules = [name for name in names if f"{name}.".startswith(f"{library}.")]
        public = [name for name in modules if "._" not in name]
        self._public = {kind.__name__: kind for kind in _classes_in(public, library)}
        self._others = _classes_in(modules, library) - set(self._public.values())

    def name_of(self, kind: type) -> str | None:
        """None if a file cannot name it."""
        if self._public.get(kind.__name__) is kind:
            return kind.__name__
        return _long_name(kind) if kind in self._others else None

    def named(self, name: str) -> type | None:
        """The class, if there is one."""
        if name in self._public:
            return self._public[name]
        same = [kind for kind in self._others if _long_name(kind) == name]
        own = name.rpartition(".")[2]
        alike = [kind for kind in self._others if kind.__name__ == own]
        found = same or alike
        return found[0] if len(found) == 1 else None


def _long_name(kind: type) -> str:
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


def _classes_in(modules: Iterable[str], library: str) -> set[type]:
    things = [
        thing for name in modules for thing in list(vars(sys.modules[name]).values())
    ]
    return {
        thing
        for thing in things
        if isinstance(thing, type)
        and library_of(thing) == library
        and not thing.__name__.startswith("_")
        and is_kept_class(thing)
    }
