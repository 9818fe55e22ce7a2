"""Pages of the API reference, made of the tables in the docstrings of the namespaces."""

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from _docstrings import names_in, prose

import ratelike as rl

ENTRY = re.compile(r"^    (\w+) +(\S.*)$")


class Section(NamedTuple):
    title: str
    names: dict[str, str]  # what each of them is, in a line


def sections_of(module: ModuleType) -> list[Section]:
    """The sections of a namespace's table, which a test compares with its names."""
    public = names_in(module)
    if module is rl.plot:
        first_lines = {
            n: inspect.getdoc(getattr(module, n)) or "" for n in sorted(public)
        }
        names = {n: text.partition("\n")[0] for n, text in first_lines.items()}
        return [Section("", {**names, "COLORS": "the colour of each dynamics."})]
    sections = []
    for block in (module.__doc__ or "").split("\n\n"):
        title, *rest = block.split("\n")
        if title.startswith("    "):
            title, rest = "", block.split("\n")
        entries = [ENTRY.match(line) for line in rest if line]
        if entries and all(entries) and title != "Namespaces":
            names = {e[1]: e[2] for e in entries if e is not None}
            if public >= names.keys():
                sections.append(Section(title, names))
    return sections


def _table(module: ModuleType, names: dict[str, str]) -> str:
    rows = (
        f"| {{py:obj}}`{name} <{module.__name__}.{name}>` | {_text(meaning)} |"
        for name, meaning in names.items()
    )
    return "\n".join(["| name | what it is |", "|---|---|", *rows])


def _text(meaning: str) -> str:
    """A line of a table in Markdown: outside code nothing is markup."""
    outside = re.split(r"(`[^`]*`)", meaning)
    outside[::2] = [re.sub(r"([*_|<])", r"\\\1", part) for part in outside[::2]]
    return "".join(outside)


def _entries(module: ModuleType, names: dict[str, str]) -> str:
    directives = []
    for name in names:
        value = getattr(module, name)
        full = f"{module.__name__}.{name}"
        if inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value)):
            kind = "class" if inspect.isclass(value) else "function"
            directives.append(f".. auto{kind}:: {full}")
            continue
        shown = f"\n   :value: {value!r}" if isinstance(value, int | dict) else ""
        meaning = names[name][0].upper() + names[name][1:]
        directives.append(f".. py:data:: {full}{shown}\n\n   {prose(meaning)}")
    return "```{eval-rst}\n" + "\n\n".join(directives) + "\n```"


def _page(title: str, module: ModuleType, sections: list[Section], intro: str) -> str:
    parts = [f"# {title}", intro]
    for section in sections:
        if len(sections) > 1:
            parts.append(f"## {section.title}")
        parts += [_table(module, section.names), _entries(module, section.names)]
    return "\n\n".join(filter(None, parts)) + "\n"


def write_api_pages(folder: Path) -> None:
    """A page for each section of `ratelike`, one for each of the other namespaces, and their index."""
    folder.mkdir(exist_ok=True)
    index = [
        "# API reference",
        "Everything stands in `import ratelike as rl` and its namespaces.",
    ]
    pages = {}
    for section in sections_of(rl):
        name = section.title.lower().replace(" ", "_")
        intro = "Names in `ratelike` itself."
        pages[name] = _page(section.title, rl, [section], intro)
        index += [f"## [{section.title}]({name}.md)", _table(rl, section.names)]
    for module in (rl.study, rl.train, rl.analysis, rl.extend, rl.plot):
        name = module.__name__.partition(".")[2]
        first = (module.__doc__ or "").partition("\n")[0]
        sections = sections_of(module)
        pages[name] = _page(f"rl.{name}", module, sections, _text(first))
        names = {
            n: meaning for section in sections for n, meaning in section.names.items()
        }
        index += [f"## [rl.{name}]({name}.md)", _text(first), _table(module, names)]
    tree = "\n".join(["```{toctree}", ":hidden:", "", *pages, "```"])
    pages["index"] = "\n\n".join([*index, tree]) + "\n"
    for name, page in pages.items():
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text() != page:
            file.write_text(page)
