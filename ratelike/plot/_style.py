"""The style, and the axes to draw on."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from typing import Any

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes

from ratelike import _validation as validation

# Okabe and Ito's colours, and grey; a dynamics keeps its colour in every picture.
COLORS = {
    "spiking": "0.45",
    "generalised": "#0072B2",
    "conventional": "#D55E00",
    "latent": "#009E73",
}

# Those of lines that are no dynamics, in their order.
LINE_COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "black",
)

# Those of named populations, in their order.
POPULATION_COLORS = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#0072B2")


@contextmanager
def style() -> Iterator[None]:
    """`with rl.plot.style():` makes figures in the library's style: fonts, colours, lines, spines."""
    path = files("ratelike.plot") / "ratelike.mplstyle"
    interactive = matplotlib.is_interactive()
    try:
        with as_file(path) as path, matplotlib.style.context(path):
            try:
                yield
            finally:
                # The first figure in a notebook loads what shows figures, which sets this: shown are later ones, too.
                interactive = matplotlib.is_interactive()
    finally:
        matplotlib.interactive(interactive)


def in_unit(unit: str | None) -> str:
    """The end of a label."""
    return "" if unit is None else f" ({unit})"


def population_colors(names: Iterable[str]) -> dict[str, str]:
    """A colour for each; beyond the last colour from the first on again."""
    return dict(zip(names, itertools.cycle(POPULATION_COLORS), strict=False))


def line_colors(names: Sequence[str]) -> list[str]:
    """A dynamics whose name a name begins with has its own; the others have what is left."""
    own = {
        name: color
        for name in names
        for dynamics, color in COLORS.items()
        if name.startswith(dynamics)
    }
    free = itertools.cycle([each for each in LINE_COLORS if each not in own.values()])
    return [own[name] if name in own else next(free) for name in names]


@contextmanager
def drawing_on(ax: Any) -> Iterator[Axes]:
    """`ax`, in the caller's style, or the only axes of a new figure, in the library's.

    Raises `ValueError` if `ax` is something else, such as the array of axes of `plt.subplots`.
    """
    if ax is not None:
        validation.instance("ax", ax, Axes)
        yield ax
        return
    from matplotlib import pyplot  # chooses a window system

    with style():
        yield pyplot.subplots(layout="constrained")[1]
