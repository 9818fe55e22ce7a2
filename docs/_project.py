"""What `CITATION.cff` and `pyproject.toml` say about the project, for the pages."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def urls() -> dict[str, str]:
    """The addresses in `pyproject.toml`, none as long as the project is not published."""
    text = (ROOT / "pyproject.toml").read_text()
    return tomllib.loads(text)["project"].get("urls", {})


def where_to_ask() -> str:
    address = urls().get("Issues")
    tracker = f"the [issue tracker]({address})" if address else "the issue tracker"
    return f"Questions, faults and wishes go to {tracker} of the project, one in each issue."


def bibtex() -> str:
    """Two entries in BibTeX, from `CITATION.cff`."""
    text = (ROOT / "CITATION.cff").read_text()
    software, paper = text.split("references:")
    names = zip(_all(paper, "family-names"), _all(paper, "given-names"), strict=True)
    entries = [
        _entry(
            "software",
            "ratelike",
            title=f"{{{_one(software, 'title')}}}",
            author=f"{{{_one(software.split('authors:')[1], 'name')}}}",
            version=_one(software, "version"),
        ),
        _entry(
            "article",
            f"{_all(paper, 'family-names')[0]}{_one(paper, 'year')}".lower(),
            title=f"{{{_one(paper, 'title')}}}",
            author=" and ".join(f"{family}, {given}" for family, given in names),
            journal=_one(paper, "journal"),
            volume=_one(paper, "volume"),
            pages=_one(paper, "start"),
            year=_one(paper, "year"),
            eprint=_one(paper, "value").removeprefix("arXiv:"),
            archiveprefix="arXiv",
        ),
    ]
    return "```bibtex\n" + "\n\n".join(entries) + "\n```"


def _all(text: str, field: str) -> list[str]:
    found = re.findall(rf"^[ -]*{field}: *(.+)$", text, re.MULTILINE)
    return [value.strip().strip('"') for value in found]


def _one(text: str, field: str) -> str:
    return _all(text, field)[0]


def _entry(kind: str, name: str, **fields: Any) -> str:
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items()]
    return "\n".join([f"@{kind}{{{name},", *lines, "}"])
