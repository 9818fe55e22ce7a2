"""A study that may be interrupted: convergence for several numbers of latents, cell by cell.

Every finished cell is a file. Stop it (Ctrl-C, kill -9, a power cut) and start it again with
the same options: it goes on where it was. Start it several times, on one machine or on
several that share the folder, and the processes divide the cells among them:

    python examples/studies/sweep.py                       # all devices of this machine
    python examples/studies/sweep.py --quick               # a minute or two, for a first look
    CUDA_VISIBLE_DEVICES=0 python examples/studies/sweep.py   # in two terminals: the second
    CUDA_VISIBLE_DEVICES=1 python examples/studies/sweep.py   # takes what the first has not begun

Prints a table, and writes sweep.png, sweep.pdf, sweep.nc (netCDF, for xarray.open_dataset) and
the folder sweep.cells. With p latents the error of the generalised rate network falls as
sqrt(p/N); that of the conventional one does not.
"""

import argparse
import functools
import math
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import matplotlib as mpl
from matplotlib.figure import Figure

import ratelike as rl

QUICK = dict(
    sizes=[64, 128, 256], latents=[2, 4], trials=3, duration=0.1, burn_in=0.05, depth=1
)


def main(arguments: Sequence[str] | None = None) -> int:
    began = time.perf_counter()
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(**QUICK)  # what is given explicitly still wins
        options = parser.parse_args(arguments)
    # with_suffix would eat a dot in the stem.
    folder, netcdf, png, pdf = (
        Path(options.output + end) for end in (".cells", ".nc", ".png", ".pdf")
    )
    try:
        result = run(options, folder)
    except KeyboardInterrupt:
        again = shlex.join([sys.executable, *sys.argv])
        print(f"\ninterrupted; the same command goes on from here:\n{again}")
        return 130
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print_table(result)
    mpl.use("Agg")  # no window
    with rl.plot.style():
        figure = draw(result, options.fit_from)
        figure.savefig(png)
        figure.savefig(pdf)
    written = [png, pdf, folder]
    try:
        result.dataset().to_netcdf(netcdf)
        written.append(netcdf)
    except ImportError as error:  # xarray is an extra
        print(error)
    print("wrote", ", ".join(map(str, written)))
    print(f"total wall time {time.perf_counter() - began:.1f} s")
    return 0


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=_Formatter,
    )

    def add(name, kind, default, text, **more):
        parser.add_argument(name, type=kind, default=default, help=text, **more)

    many = {"nargs": "+"}
    sizes = [64 * 2**k for k in range(7)]
    add("--sizes", int, sizes, "numbers N of neurons per layer", metavar="N", **many)
    add("--latents", int, [4, 16], "numbers p of latents", metavar="P", **many)
    add("--trials", int, 3, "trials at the largest N, proportionally more at others")
    add("--depth", int, 2, "layers of neurons")
    add("--dt", positive, 1.0, "time step in ms, of which 2 ms are a multiple")
    add("--duration", positive, 0.5, "time after the burn-in in s")
    add("--burn-in", float, 0.1, "time left out at the start in s")
    add("--fit-from", int, 64, "smallest N in the fit of the slopes")
    add("--seed", int, 0, "seed of weights, input and spikes")
    cores = os.cpu_count() or 1 if jax.default_backend() == "cpu" else 1
    add("--workers", int, cores, "cells beside each other on each device")
    text = "path of the files and the folder, without their endings"
    add("--output", str, "sweep", text, metavar="PREFIX")
    small = ", ".join(f"{k.replace('_', '-')} {v}" for k, v in QUICK.items())
    text = f"a small run of a minute or two, with other defaults: {small}"
    parser.add_argument("--quick", action="store_true", help=text)
    return parser


def positive(text: str) -> float:
    """A type for argparse."""
    value = float(text)
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be greater than 0, got {text}")
    return value


class _Formatter(
    argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter
):
    pass


def make_network(num_neurons, num_latents, depth, *, key) -> rl.Network:
    return rl.relay_network(
        rl.SRM0(),
        num_neurons=num_neurons,
        num_latents=num_latents,
        depth=depth,
        key=key,
    )


def run(options: argparse.Namespace, folder: Path) -> rl.study.SweepResult:
    dt = options.dt * 1e-3
    burn_in = round(options.burn_in / dt)
    grid = rl.TimeGrid(dt, burn_in + round(options.duration / dt))
    return rl.sweep(
        functools.partial(make_network, depth=options.depth),
        grid,
        axes={"num_neurons": options.sizes, "num_latents": options.latents},
        num_trials=options.trials,
        key=jax.random.key(options.seed),
        folder=folder,
        burn_in=burn_in,
        execution=rl.study.SweepExecution(
            workers=options.workers, progress=rl.study.Progress("sweep")
        ),
    )


def print_table(result: rl.study.SweepResult) -> None:
    print("latents       N  trials  to generalised  to conventional  rate (Hz)")
    for latents in result.axes["num_latents"]:
        study = result.convergence(num_latents=latents)
        curves = (study.generalised, study.conventional, study.rates)
        means = zip(*(curve.mean() for curve in curves), strict=True)
        for size, trials, values in zip(
            study.sizes, study.rates.values, means, strict=True
        ):
            print(f"{latents:7} {size:7} {len(trials):7}", end="")
            print(f"{values[0]:16.4f} {values[1]:16.4f} {values[2]:10.1f}")


def draw(result: rl.study.SweepResult, fit_from: int) -> Figure:
    """A panel for each number of latents, on common axes."""
    latents = result.axes["num_latents"]
    figure = Figure(figsize=(1 + 4 * len(latents), 3.6), layout="constrained")
    panels = figure.subplots(1, len(latents), squeeze=False)[0]
    for panel, p in zip(panels, latents, strict=True):
        rl.plot.convergence(
            result.convergence(num_latents=p),
            fit_from=fit_from,
            unit="s.d. of input",
            ax=panel,
        )
        panel.set_title(f"$p$ = {p} latents")
        panel.label_outer()
    limits = [panel.get_ylim() for panel in panels]
    for panel in panels:
        panel.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    return figure


if __name__ == "__main__":
    sys.exit(main())
