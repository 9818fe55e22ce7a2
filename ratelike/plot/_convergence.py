"""Error against network size."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from ratelike import _validation as validation
from ratelike._study._result import Convergence
from ratelike._study._size_curve import SizeCurve
from ratelike.plot._style import drawing_on, in_unit, line_colors

MOST_TICKS = 9


def convergence(
    convergence: Convergence | Mapping[str, SizeCurve],
    *,
    fit_from: int | None = None,
    unit: str | None = None,
    digits: int = 2,
    ax: Axes | None = None,
) -> Axes:
    """Mean errors against N on logarithmic axes, with 95% intervals, their slopes, and a guide of slope -1/2.

    Of a study the errors to both rate networks, or named curves such as {"p = 2": study.generalised, ...}; the guide belongs
    to the generalised rate, or to the first curve. Slopes are fitted from N = `fit_from` on (by default the smallest), and
    have `digits`; with fewer than two sizes there are none. Intervals need two trials at a size. `unit` is that of the
    outputs, for the label: "s.d. of input" where the input is white noise of variance 1 (the default of
    `ratelike.convergence`) and layers hand that on.

        rl.plot.convergence({f"p = {p}": result.convergence(num_latents=p).generalised for p in (2, 8)})

    Raises `ValueError` for no curves, and for a mean of zero, which has no logarithm.
    """
    curves, guided = _curves(convergence)
    sizes = sorted({size for curve in curves.values() for size in curve.sizes})
    fit_from = sizes[0] if fit_from is None else fit_from
    fit_from = validation.count("fit_from", fit_from)
    digits = validation.count("digits", digits)
    colors = line_colors([name.removeprefix("to ") for name in curves])
    with drawing_on(ax) as ax:
        ax.set(xscale="log", yscale="log")
        for (name, curve), color in zip(curves.items(), colors, strict=True):
            marker = "s" if "conventional" in name else "o"
            label = name + _slope(curve, fit_from, digits)
            _draw(ax, curve, label, color, marker)
        _guide(ax, curves[guided], fit_from)
        means = np.concatenate([curve.mean() for curve in curves.values()])
        # The legend is in the lower part, which no curve reaches.
        lowest, highest = 0.7 * np.nanmin(means), 1.4 * np.nanmax(means)
        room = 0.25 * max(2, len(curves))
        ax.set_ylim(lowest * (lowest / highest) ** room, highest)
        _ticks(ax, sizes)
        ax.set_xlabel("neurons per layer $N$")
        ax.set_ylabel(
            r"mean $|y_{\mathrm{spiking}} - y_{\mathrm{rate}}|$" + in_unit(unit)
        )
        title = f"slopes from $N$ = {fit_from} on" if fit_from > sizes[0] else None
        ax.legend(loc="lower left", title=title, alignment="left")
    return ax


def _curves(
    convergence: Convergence | Mapping[str, SizeCurve],
) -> tuple[dict[str, SizeCurve], str]:
    """By name, and the name of that which has a guide."""
    if isinstance(convergence, Convergence):
        names = ("to conventional rate", "to generalised rate")
        both = convergence.conventional, convergence.generalised
        return dict(zip(names, both, strict=True)), names[1]
    if not isinstance(convergence, Mapping):
        validation.instance("convergence", convergence, Convergence)
    for name, curve in convergence.items():
        validation.instance(f"convergence[{name!r}]", curve, SizeCurve)
    if not convergence:
        raise ValueError("convergence must name at least one curve, got none")
    return dict(convergence), next(iter(convergence))


def _draw(ax: Axes, curve: SizeCurve, label: str, color: str, marker: str) -> None:
    order = np.argsort(curve.sizes)
    sizes, means = np.array(curve.sizes)[order], curve.mean()[order]
    ax.plot(sizes, means, color=color, marker=marker, label=label)
    # NaN, and no band, for one trial.
    lower, upper = (bound[order] for bound in curve.confidence_interval())
    # The band of an interval that extends below zero extends below the axes.
    lower = np.where(lower <= 0.0, np.finfo(float).tiny, lower)
    ax.fill_between(sizes, lower, upper, color=color, alpha=0.25, linewidth=0)


def _slope(curve: SizeCurve, fit_from: int, digits: int) -> str:
    if sum(size >= fit_from for size in curve.sizes) < 2:
        return ""
    fit = curve.slope(fit_from)
    text = f": slope {fit.value:.{digits}f}"
    fitted = zip(curve.sizes, curve.values, strict=True)
    if all(len(errors) > 1 for size, errors in fitted if size >= fit_from):
        text += f" [{fit.lower:.{digits}f}, {fit.upper:.{digits}f}]"
    return text.replace("-", "−")


def _guide(ax: Axes, curve: SizeCurve, fit_from: int) -> None:
    """A line of slope -1/2, just below the curve at the sizes to which a slope is fitted."""
    fitted = {
        size: mean
        for size, mean in zip(curve.sizes, curve.mean(), strict=True)
        if size >= fit_from
    }
    if len(fitted) < 2:
        return
    sizes = np.array(sorted(fitted))
    guide = 0.8 * fitted[sizes[0]] * (sizes / sizes[0]) ** -0.5
    ax.plot(sizes, guide, "--", color="black", linewidth=1, label="slope −1/2")


def _ticks(ax: Axes, sizes: Sequence[int]) -> None:
    """Ticks at the sizes, or at some of many."""
    shown = sorted(sizes)[:: -(-len(sizes) // MOST_TICKS)]
    ax.set_xticks(shown, [f"{size}" for size in shown])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
