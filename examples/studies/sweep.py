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

import functools
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import _script
import _study
import jax

import ratelike as rl

QUICK = dict(
    sizes=[64, 128, 256], latents=[2, 4], trials=3, duration=0.1, burn_in=0.05, depth=1
)


def main(arguments: Sequence[str] | None = None) -> int:
    cores = os.cpu_count() or 1 if jax.default_backend() == "cpu" else 1
    options = _script.options(
        "Runs a study that may be interrupted and goes on.",
        arguments,
        output="sweep",
        quick=QUICK,
        sizes=(int, [64 * 2**k for k in range(7)], "numbers N of neurons per layer"),
        latents=(int, [4, 16], "numbers p of latents"),
        trials=(int, 3, "trials at the largest N, proportionally more at others"),
        depth=(int, 2, "layers of neurons"),
        dt=(_script.seconds, 1.0, "time step in ms, of which 2 ms are a multiple"),
        duration=(_script.seconds, 0.5, "time after the burn-in in s"),
        burn_in=(float, 0.1, "time left out at the start in s"),
        fit_from=(int, 64, "smallest N in the fit of the slopes"),
        workers=(int, cores, "cells beside each other on each device"),
    )
    try:
        result = run(options)
    except KeyboardInterrupt:
        again = shlex.join([sys.executable, *sys.argv])
        print(f"\ninterrupted; the same command goes on from here:\n{again}")
        return 130
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from None
    latents = result.axes["num_latents"]
    studies = [result.convergence(num_latents=p) for p in latents]
    for p, study in zip(latents, studies, strict=True):
        print(f"{p} latents")
        _study.print_table(study, options.fit_from, digits=2)
    try:
        result.dataset().to_netcdf(options.output + ".nc")
    except ImportError as error:  # xarray is an extra
        print(error)
    letters = "ABCDEFGH"[: len(latents)]
    titles = {a: f"$p$ = {p} latents" for a, p in zip(letters, latents, strict=True)}
    size = (1 + 4 * len(latents), 3.6)
    with _script.picture(options, letters, titles, size, sharey=True) as axes:
        for letter, study in zip(letters, studies, strict=True):
            rl.plot.convergence(
                study,
                fit_from=options.fit_from,
                unit="s.d. of input",
                ax=axes[letter],
            )
            axes[letter].label_outer()
        curves = [c for each in studies for c in (each.generalised, each.conventional)]
        low = 0.7 * min(curve.mean().min() for curve in curves)
        high = 1.4 * max(curve.mean().max() for curve in curves)
        axes["A"].set_ylim(low * (low / high) ** 0.5, high)
    return 0


def make_network(num_neurons, num_latents, depth, *, key) -> rl.Network:
    return rl.relay_network(
        rl.SRM0(),
        num_neurons=num_neurons,
        num_latents=num_latents,
        depth=depth,
        key=key,
    )


def run(options) -> rl.study.SweepResult:
    dt = options.dt * 1e-3
    burn_in = round(options.burn_in / dt)
    return rl.sweep(
        functools.partial(make_network, depth=options.depth),
        rl.TimeGrid(dt, burn_in + round(options.duration / dt)),
        axes={"num_neurons": options.sizes, "num_latents": options.latents},
        num_trials=options.trials,
        key=jax.random.key(options.seed),
        folder=Path(options.output + ".cells"),
        burn_in=burn_in,
        execution=rl.study.SweepExecution(
            workers=options.workers, progress=rl.study.Progress("sweep")
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
