"""Docstrings and signatures of the library as autodoc wants them.

The docstrings are plain text: `code`, *emphasis*, and indented equations or examples. Signatures are those of the
source, with the names of types as they are written there.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx

import ratelike as rl

NAMESPACES = (rl, rl.study, rl.train, rl.analysis, rl.extend, rl.plot)
WHOLE_RUNS = re.compile(r"`[^`]+`|(?<![\w*])\*\w[^*]*?[^\s*]\*(?![\w*])")


def names_in(module: ModuleType) -> set[str]:
    """The public names of a namespace, without the namespaces in it."""
    return {
        name
        for name in dir(module)
        if not name.startswith("_") and not inspect.ismodule(getattr(module, name))
    }


def public_names() -> dict[str, str]:
    """For each public name, and for its namespace with it, the name with `ratelike`."""
    found = {"Array": "jax.Array"}
    for module in reversed(NAMESPACES):
        short = module.__name__.removeprefix("ratelike").removeprefix(".")
        for name in names_in(module):
            full = f"{module.__name__}.{name}"
            spellings = (f"{short}.{name}", f"rl.{short}.{name}", full)
            found |= {spelling.replace("..", "."): full for spelling in spellings}
            # A picture has the name of what it shows.
            if module is not rl.plot:
                found[name] = full
    return found


PUBLIC = public_names()


def prose(line: str) -> str:
    """A line of text as reStructuredText: what is neither code nor emphasis means nothing else."""
    parts, at = [], 0
    for run in WHOLE_RUNS.finditer(line):
        parts.append(re.sub(r"([\\*|_`])", r"\\\1", line[at : run.start()]))
        code = run.group().strip("`")
        if run.group()[0] != "`":
            parts.append(run.group())
        elif code in PUBLIC:
            parts.append(f":py:obj:`{code} <{PUBLIC[code]}>`")
        else:
            parts.append(f"``{code}``")
        at = run.end()
        if line[at : at + 1].isalnum():  # as in `Layer`s
            parts.append("\\ ")
    parts.append(re.sub(r"([\\*|_`])", r"\\\1", line[at:]))
    return "".join(parts)


def _is_python(block: str) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(block))
    except SyntaxError:
        return False
    calls = (ast.Call, ast.FunctionDef, ast.ClassDef, ast.With)
    return any(isinstance(node, calls) for node in ast.walk(tree)) and "rl." in block


def _language(block: str) -> str:
    if ">>>" in block:
        return "pycon"
    return "python" if _is_python(block) else "text"


def restructured(lines: Iterable[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    result: list[str] = []
    before = ""
    for block in inspect.cleandoc("\n".join(lines)).split("\n\n"):
        if not block.startswith(("    ", ">>>")):
            result += [*map(prose, block.split("\n")), ""]
            before = ""
            continue
        language = _language(block)
        if language != before:
            result += [f".. code-block:: {language}", ""]
        text = textwrap.dedent(block).replace("  # doctest: +SKIP", "")
        result += [*textwrap.indent(text, "    ").split("\n"), ""]
        before = language
    return result


def _class_fields(cls: type) -> list[str]:
    """A list of the fields of a class with the comments beside them, which are their units and meaning."""
    source = textwrap.dedent(inspect.getsource(cls))
    written = source.split("\n")
    result = []
    for node in ast.parse(source).body[0].body:
        if not isinstance(node, ast.AnnAssign) or node.target.id.startswith("_"):
            continue
        kind = _annotation(node.annotation)
        if kind.startswith(("ClassVar", "eqx.AbstractClassVar")):
            continue
        kind = re.sub(r"^eqx\.AbstractVar\[(.*)\]$", r"\1", kind)
        _, _, comment = written[node.end_lineno - 1].partition("  # ")
        comment = comment.partition("pyright:")[0].strip()
        line = f"- ``{node.target.id}``: ``{kind}``"
        if comment:
            result.append(f"{line}, {prose(comment)}")
        elif "__init__" not in cls.__dict__ or dataclasses.is_dataclass(cls):
            result.append(line)
    return ["*Fields.*", "", *result, ""] if result else []


def _annotation(node: ast.expr) -> str:
    """As it stands in the source, without the space before a single axis."""
    return re.sub(r"(['\"]) (?=\w)", r"\1", ast.unparse(node))


def process_docstring(
    _app: Sphinx, what: str, _name: str, value: Any, _options: Any, lines: list[str]
) -> None:
    """The handler of `autodoc-process-docstring`."""
    fields = _class_fields(value) if what == "class" else []
    lines[:] = [*restructured(lines), *fields]


class _Linked(ast.NodeTransformer):
    """Names of public types in annotations, with their namespaces, so that they become links."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        full = PUBLIC.get(node.id)
        return node if full is None else ast.parse(full, mode="eval").body


def _written_init(value: Any) -> ast.FunctionDef | None:
    """The definition of a function, or of the `__init__` that a class has in its source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    if isinstance(tree, ast.ClassDef):
        written = {each.name: each for each in tree.body if hasattr(each, "name")}
        return written.get("__init__")
    return tree if isinstance(tree, ast.FunctionDef) else None


def _fields_as_arguments(cls: type) -> str:
    """The fields of a class are its arguments, and their types stand in the list of fields."""
    if inspect.isabstract(cls) or not dataclasses.is_dataclass(cls):
        return ""
    arguments = []
    for field in filter(lambda f: f.init, dataclasses.fields(cls)):
        default = field.default
        given = "" if default is dataclasses.MISSING else f"={default!r}"
        made = field.default_factory is not dataclasses.MISSING
        arguments.append(f"{field.name}=..." if made else field.name + given)
    return f"({', '.join(arguments)})"


def process_signature(
    _app: Sphinx,
    what: str,
    _name: str,
    value: Any,
    _options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """The handler of `autodoc-process-signature`: the signature as it is written in the source."""
    if what not in {"class", "function", "method"}:
        return signature, returns
    definition = _written_init(inspect.unwrap(value))
    if definition is None:
        return _fields_as_arguments(value) if what == "class" else signature, None
    arguments = definition.args
    positional = arguments.posonlyargs or arguments.args
    if positional and positional[0].arg in {"self", "cls"}:
        positional.pop(0)
    for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if each.annotation is not None:
            each.annotation = _Linked().visit(each.annotation)
    result = None
    if what != "class" and definition.returns is not None:
        result = _annotation(_Linked().visit(definition.returns))
    return f"({_annotation(arguments)})", result


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-process-signature", process_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
