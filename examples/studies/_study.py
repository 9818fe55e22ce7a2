"""What the examples share that draw error against N: a file of trials, a table, and the curves."""

import csv
from collections.abc import Callable
from typing import TextIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

import ratelike as rl

# Okabe and Ito's colours.
GENERALISED, CONVENTIONAL = "#0072B2", "#D55E00"


def cell_writer(file: TextIO) -> Callable[[rl.study.Cell], None]:
    """Writes a row for each trial of a cell, as it finishes."""
    writer = csv.writer(file)
    errors = ["error_generalised", "error_conventional"]
    writer.writerow(["size", "trial", *errors, "rate_hz"])

    def save(cell: rl.study.Cell) -> None:
        trials = zip(cell.generalised, cell.conventional, cell.rates, strict=True)
        for trial, values in enumerate(trials, start=cell.first_trial):
            writer.writerow([cell.size, trial, *(f"{value:.8g}" for value in values)])
        file.flush()  # an interrupted run keeps what is finished

    return save


def print_table(study: rl.study.Convergence, fit_from: int, digits: int) -> None:
    curves = {"generalised": study.generalised, "conventional": study.conventional}
    print("    N  trials  error to generalised  error to conventional  mean rate (Hz)")
    for index, size in enumerate(study.sizes):
        errors = [curve.mean()[index] for curve in curves.values()]
        rates = study.rates.values[index]
        print(f"{size:5}  {len(rates):6}", end="")
        print(f"  {errors[0]:20.4f}  {errors[1]:21.4f}  {rates.mean():14.1f}")
    for name, curve in curves.items():
        text = slope(curve, fit_from, digits)
        print(f"slope to {name} rate from N = {fit_from}: {text}")


def slope(curve: rl.study.SizeCurve, fit_from: int, digits: int) -> str:
    """With its 95% interval."""
    fit = curve.slope(fit_from)
    value, *interval = (f"{x:.{digits}f}" for x in (fit.value, fit.lower, fit.upper))
    return f"{value} [{', '.join(interval)}]"


def draw_curves(
    ax: Axes, study: rl.study.Convergence, fit_from: int, digits: int
) -> None:
    """Both errors with their confidence bands, over the sizes."""
    sizes = np.array(study.sizes)
    for curve, name, color, marker in (
        (study.conventional, "conventional", CONVENTIONAL, "s"),
        (study.generalised, "generalised", GENERALISED, "o"),
    ):
        text = slope(curve, fit_from, digits).replace("-", "−")
        label = f"to {name} rate: slope {text}"
        style = {"color": color, "marker": marker, "markersize": 5}
        ax.loglog(sizes, curve.mean(), **style, label=label)
        # NaN, and no band, where there is one trial.
        lower, upper = curve.confidence_interval()
        ax.fill_between(sizes, lower, upper, color=color, alpha=0.25, linewidth=0)
    ax.set_xticks(sizes, [f"{size}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
