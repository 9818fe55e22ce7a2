"""Error against network size."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from ratelike import _validation as validation
from ratelike._study._result import Convergence
from ratelike._study._size_curve import SizeCurve
from ratelike.plot._style import COLORS, drawing_on, in_unit

MOST_TICKS = 9


def convergence(
    convergence: Convergence,
    *,
    fit_from: int | None = None,
    unit: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean errors against N on logarithmic axes, with 95% intervals, their slopes, and a guide of slope -1/2.

    Slopes are fitted from N = `fit_from` on (by default the smallest); with fewer than two sizes there are none.
    Intervals need two trials at a size. `unit` is that of the outputs, for the label: "s.d. of input" where the input is
    white noise of variance 1 (the default of `ratelike.convergence`) and layers hand that on.

    Raises `ValueError` for an error that is not greater than zero, which has no logarithm.
    """
    validation.instance("convergence", convergence, Convergence)
    fit_from = min(convergence.sizes) if fit_from is None else fit_from
    fit_from = validation.count("fit_from", fit_from)
    with drawing_on(ax) as ax:
        ax.set(xscale="log", yscale="log")
        _curve(ax, convergence.conventional, "conventional", "s", fit_from)
        _curve(ax, convergence.generalised, "generalised", "o", fit_from)
        _guide(ax, convergence.generalised, fit_from)
        means = [convergence.generalised.mean(), convergence.conventional.mean()]
        # The legend is in the lower third, which no curve reaches.
        lowest, highest = 0.7 * np.nanmin(means), 1.4 * np.nanmax(means)
        ax.set_ylim(lowest * (lowest / highest) ** 0.5, highest)
        _ticks(ax, convergence.sizes)
        ax.set_xlabel("neurons per layer $N$")
        ax.set_ylabel(
            r"mean $|y_{\mathrm{spiking}} - y_{\mathrm{rate}}|$" + in_unit(unit)
        )
        ax.legend(loc="lower left")
    return ax


def _curve(ax: Axes, curve: SizeCurve, name: str, marker: str, fit_from: int) -> None:
    order = np.argsort(curve.sizes)
    sizes, means = np.array(curve.sizes)[order], curve.mean()[order]
    label = f"to {name} rate{_slope(curve, fit_from)}"
    ax.plot(sizes, means, color=COLORS[name], marker=marker, label=label)
    # NaN, and no band, for one trial.
    lower, upper = (bound[order] for bound in curve.confidence_interval())
    # The band of an interval that extends below zero extends below the axes.
    lower = np.where(lower <= 0.0, np.finfo(float).tiny, lower)
    ax.fill_between(sizes, lower, upper, color=COLORS[name], alpha=0.25, linewidth=0)


def _slope(curve: SizeCurve, fit_from: int) -> str:
    if sum(size >= fit_from for size in curve.sizes) < 2:
        return ""
    fit = curve.slope(fit_from)
    text = f": slope {fit.value:.2f}"
    fitted = zip(curve.sizes, curve.values, strict=True)
    if all(len(errors) > 1 for size, errors in fitted if size >= fit_from):
        text += f" [{fit.lower:.2f}, {fit.upper:.2f}]"
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
