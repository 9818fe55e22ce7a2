"""What the example scripts share: their options, the files that they write, and figures of named panels."""

import argparse
import csv
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ratelike as rl

BEGAN = time.perf_counter()


def options(
    description: str,
    arguments: Sequence[str] | None,
    *,
    output: str,
    quick: Mapping[str, Any],
    **given: tuple[Callable, Any, str],
) -> argparse.Namespace:
    """For each that is given its type, its default and what it is (several values if the default is a list), and what all
    scripts take: --seed, --output (by default the stem `output`) and --quick (the other defaults `quick`).
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for name, (kind, default, text) in given.items():
        many: dict[str, Any] = {"nargs": "+"} if isinstance(default, list) else {}
        option = "--" + name.replace("_", "-")
        parser.add_argument(
            option, type=kind, default=default, help=text, metavar="X", **many
        )
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


def sizes(options: argparse.Namespace) -> list[int]:
    """From --min-size to --max-size, with at least two from --fit-from on."""
    found = doubled(options.min_size, options.max_size)
    if sum(size >= options.fit_from for size in found) < 2:
        rule = "a slope needs two sizes from --fit-from to --max-size"
        raise SystemExit(f"{rule}: got {options.fit_from} for the sizes {found}")
    return found


def write_table(
    options: argparse.Namespace, names: Sequence[str], rows: Iterable[Sequence]
) -> None:
    with files(options)[2].open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in rows:
            writer.writerow(
                [x if isinstance(x, str | int) else f"{x:.8g}" for x in row]
            )


@contextmanager
def picture(
    options: argparse.Namespace,
    mosaic: Any,
    titles: Mapping[str, str],
    size: tuple[float, float],
    **layout: Any,
) -> Iterator[Mapping[str, Axes]]:
    """The panels, in the library's style; what is drawn in the block is written at its end."""
    png, pdf, table = files(options)
    with rl.plot.style():
        figure = Figure(figsize=size)
        figure.set_layout_engine("constrained", w_pad=0.07)
        axes = figure.subplot_mosaic(mosaic, **layout)
        yield axes
        name_panels(axes, titles)
        figure.savefig(png, dpi=200)
        figure.savefig(pdf)
    tables = [table] if table.exists() else []  # not every script has one
    print("wrote", *(str(each) for each in (png, pdf, *tables)))
    print(f"total wall time {time.perf_counter() - BEGAN:.1f} s")


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
