"""What a function depends on outside itself, read from its bytecode: the values of the names it looks up."""

import contextlib
import dis
import functools
import hashlib
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ratelike._study._sweep._environment import PACKAGES

PACKAGE_FOLDERS = ("site-packages", "dist-packages")
LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF")
ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
SILENT = ("EXTENDED_ARG", "CACHE", "NOP", "PUSH_NULL")


def dependencies(function: types.FunctionType) -> dict[str, Any]:
    """What `function` uses and does not define, by its name: `width`, or `own.width` for an attribute of a module.

    Of a module of the user's own, every attribute counts whose name is in the code, so that an alias of a module within
    the function does no harm; a module that is used by itself, as an argument for instance, counts as a whole.
    """
    code = function.__code__
    names = _names(code)
    scope = {
        name: function.__globals__[name]
        for name in sorted(names)
        if name in function.__globals__
    }
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # nothing is in the cell yet
            scope[name] = cell.cell_contents
    scope.pop("__class__", None)
    modules = _imported(function)
    found = _modules_alone(code, scope)
    for name, value in scope.items():
        if isinstance(value, types.ModuleType):
            modules[name] = value
        elif value is not None:
            found[name] = value
    names |= _texts(code)
    for name, module in modules.items():
        found |= _attributes(name, module, names, frozenset())
    return found


def is_installed(module: str | None) -> bool:
    """Whether a module is of Python, of an installed package or of ratelike: not a file of the user's own."""
    root = (module or "builtins").partition(".")[0]
    if root == "__main__":  # also where a notebook's server is the program
        return False
    if root in sys.builtin_module_names or root in ("ratelike", "numpy", *PACKAGES):
        return True
    file = _file_of(module or "builtins")
    if file is None:
        return root in sys.stdlib_module_names
    # A virtual environment may lie within a project, and a library of Python within no folder of packages.
    return any(name in PACKAGE_FOLDERS for name in file.parts) or any(
        folder in file.parents for folder in _library()
    )


def bytecode(function: Any) -> str:
    """A hash of what the function does, for where its source is not known."""
    digest = hashlib.sha256()
    for code in _codes(function.__code__):
        digest.update(code.co_code)
        digest.update(repr(code.co_names).encode())
        for constant in code.co_consts:
            if isinstance(constant, frozenset):  # in an order of this process
                constant = sorted(map(repr, constant))
            if not isinstance(constant, types.CodeType):
                digest.update(repr(constant).encode())
    return digest.hexdigest()


def _attributes(
    where: str, module: types.ModuleType, names: set[str], within: frozenset[int]
) -> dict[str, Any]:
    """The attributes with one of `names`, of a module of the user's own and of modules in it."""
    found: dict[str, Any] = {}
    if id(module) in within or is_installed(module.__name__):
        return found
    for name in sorted(names):
        if name.startswith("__"):
            continue
        value = getattr(module, name, None)
        if isinstance(value, types.ModuleType):
            inner = within | {id(module)}
            found |= _attributes(f"{where}.{name}", value, names, inner)
        elif value is not None:
            found[f"{where}.{name}"] = value
    return found


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function and of all functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _names(code: types.CodeType) -> set[str]:
    return {name for each in _codes(code) for name in each.co_names}


def _texts(code: types.CodeType) -> set[str]:
    """Strings that may name an attribute: `getattr(module, "width")`."""
    constants = (constant for each in _codes(code) for constant in each.co_consts)
    return {text for text in constants if isinstance(text, str) and text.isidentifier()}


def _instructions(code: types.CodeType) -> list[dis.Instruction]:
    return [each for each in dis.get_instructions(code) if each.opname not in SILENT]


def _modules_alone(code: types.CodeType, scope: Mapping[str, Any]) -> dict[str, Any]:
    """Modules of the user's own that are used by themselves, not for an attribute. Too many do no harm."""
    found = {}
    for each in _codes(code):
        instructions = _instructions(each)
        for i, load in enumerate(instructions):
            if load.opname not in LOADS:
                continue
            name, value = load.argval, scope.get(load.argval)
            for following in instructions[i + 1 :]:
                is_module = isinstance(value, types.ModuleType)
                if not is_module or following.opname not in ATTRIBUTES:
                    break
                value = getattr(value, following.argval, None)
                name += f".{following.argval}"
            if isinstance(value, types.ModuleType) and not is_installed(value.__name__):
                found[name] = value
    return found


def _imported(function: types.FunctionType) -> dict[str, types.ModuleType]:
    """Modules of the user's own that the function imports. They are imported now: their content has to be known."""
    modules = {}
    for code in _codes(function.__code__):
        instructions = _instructions(code)
        for i, instruction in enumerate(instructions):
            if instruction.opname != "IMPORT_NAME":
                continue
            level, names = (each.argval for each in instructions[i - 2 : i])
            if not level and is_installed(instruction.argval):
                continue
            with contextlib.suppress(ImportError):  # the function may do without
                module = __import__(
                    instruction.argval, function.__globals__, None, names or (), level
                )
                modules[module.__name__] = module
    return modules


def _file_of(module: str) -> Path | None:
    """The file or folder of the module, or of its package, whether imported or not."""
    root = module.partition(".")[0]
    for name in (module, root):
        loaded = sys.modules.get(name)
        places = [getattr(loaded, "__file__", None), *getattr(loaded, "__path__", ())]
        for place in filter(None, places):
            return Path(place)
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(root)
        if spec is not None and spec.has_location and spec.origin:
            return Path(spec.origin)
        for place in getattr(spec, "submodule_search_locations", None) or ():
            return Path(place)
    return None


@functools.cache
def _library() -> tuple[Path, ...]:
    """The folders of Python's own library."""
    paths = sysconfig.get_paths()
    return tuple(Path(paths[kind]) for kind in ("stdlib", "platstdlib"))
