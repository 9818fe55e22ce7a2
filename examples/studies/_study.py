"""What the examples share that draw error against N: a file of trials, and a table."""

import csv
from collections.abc import Callable
from typing import TextIO

import ratelike as rl

GENERALISED, CONVENTIONAL = (
    rl.plot.COLORS[name] for name in ("generalised", "conventional")
)


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
