"""What the example scripts share: the options that all of them have, and how panels are named."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.typing import RcKeyType

STYLE: dict[RcKeyType, Any] = {
    "font.size": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # text stays text
}


def make_parser(description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )


def parse(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    *,
    output: str,
    quick: Mapping[str, Any],
) -> argparse.Namespace:
    """Adds --seed, --output (by default the stem `output`) and --quick (the other defaults `quick`), and parses."""
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    text = "path of the files without .png, .pdf and .csv"
    parser.add_argument("--output", default=output, help=text)
    small = ", ".join(f"{name.replace('_', '-')} {quick[name]}" for name in quick)
    text = f"a small run for a first look, with other defaults: {small}"
    parser.add_argument("--quick", action="store_true", help=text)
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(**quick)  # what is given explicitly still wins
        options = parser.parse_args(arguments)
    return options


def files(options: argparse.Namespace) -> tuple[Path, Path, Path]:
    """PNG, PDF and CSV, in a folder that exists."""
    # with_suffix would eat a dot in the stem.
    png, pdf, table = (Path(options.output + end) for end in (".png", ".pdf", ".csv"))
    png.parent.mkdir(parents=True, exist_ok=True)
    return png, pdf, table


def number(kind: type[int] | type[float], low: float, high: float) -> Callable:
    """A type for argparse: a number within bounds."""

    def parse(text: str) -> int | float:
        value = kind(text)
        if not low <= value <= high:  # nan too
            rule = f"must be from {low} to {high}"
            raise argparse.ArgumentTypeError(f"{rule}, got {text}")
        return value

    parse.__name__ = kind.__name__  # argparse's word for it when the text is no number
    return parse


def doubled(smallest: int, largest: int) -> list[int]:
    """Sizes that double from the smallest on, as many as fit."""
    return [smallest * 2**k for k in range((largest // smallest).bit_length())]


def count(text: str) -> int:
    """A type for argparse: a whole number of at least one."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def seconds(text: str) -> float:
    """A type for argparse: a time greater than zero."""
    value = float(text)
    if not 0.0 < value < 1e4:
        raise argparse.ArgumentTypeError(f"must be from 0 to 10000 s, got {text}")
    return value


def name_panels(axes: Mapping[str, Axes], titles: Mapping[str, str]) -> None:
    for letter, title in titles.items():
        title = rf"$\bf{{{letter}}}$  {title}"
        axes[letter].set_title(title, loc="left", fontsize=9.5)
