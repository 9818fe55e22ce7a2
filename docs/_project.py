"""What `CITATION.cff` and `pyproject.toml` say about the project, for the pages."""

import tomllib
from pathlib import Path
from typing import Any

import yaml

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
    software = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    [paper] = software["references"]
    authors = [(each["family-names"], each["given-names"]) for each in paper["authors"]]
    entries = [
        _entry(
            "software",
            "ratelike",
            title=f"{{{software['title']}}}",
            author=f"{{{software['authors'][0]['name']}}}",
            version=software["version"],
        ),
        _entry(
            "article",
            f"{authors[0][0]}{paper['year']}".lower(),
            title=f"{{{paper['title']}}}",
            author=" and ".join(", ".join(names) for names in authors),
            journal=paper["journal"],
            volume=paper["volume"],
            pages=paper["start"],
            year=paper["year"],
            eprint=paper["identifiers"][0]["value"].removeprefix("arXiv:"),
            archiveprefix="arXiv",
        ),
    ]
    return "```bibtex\n" + "\n\n".join(entries) + "\n```"


def _entry(kind: str, name: str, **fields: Any) -> str:
    lines = [f"  {key} = {{{value}}}," for key, value in fields.items()]
    return "\n".join([f"@{kind}{{{name},", *lines, "}"])
