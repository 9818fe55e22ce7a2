"""A study that may be interrupted: convergence for several numbers of latents, cell by cell.

Every finished cell is a file. Stop it (Ctrl-C, kill -9, a power cut) and start it again with
the same options: it goes on where it was. Start it several times, on one machine or on
several that share the folder, and the processes divide the cells among them:

    python examples/studies/sweep.py                       # all devices of this machine
    python examples/studies/sweep.py --quick               # a minute or two, for a first look
    CUDA_VISIBLE_DEVICES=0 python examples/studies/sweep.py   # in two terminals: the second
    CUDA_VISIBLE_DEVICES=1 python examples/studies/sweep.py   # takes what the first has not begun

Prints tables, and writes sweep.png, sweep.pdf, sweep.nc (netCDF, for xarray.open_dataset) and
the folder sweep.cells. With p latents the error of the generalised rate network falls as
sqrt(p/N); that of the conventional one does not.
"""

import functools

import _script
import _study
import jax

import ratelike as rl

options = _script.options(
    "Runs a study that may be interrupted and goes on.",
    None,
    output="sweep",
    quick=dict(
        sizes=[64, 128, 256], latents=[2, 4], duration=0.1, burn_in=0.05, depth=1
    ),
    sizes=(int, _script.doubled(64, 4096), "numbers N of neurons per layer"),
    latents=(int, [4, 16], "numbers p of latents"),
    trials=(int, 3, "trials at the largest N, proportionally more at others"),
    depth=(int, 2, "layers of neurons"),
    duration=(_script.seconds, 0.5, "time after the burn-in in s"),
    burn_in=(float, 0.1, "time left out at the start in s"),
)
DT = 1e-3  # s
burn_in = round(options.burn_in / DT)
result = rl.sweep(
    functools.partial(rl.relay_network, rl.SRM0(), depth=options.depth),
    rl.TimeGrid(DT, burn_in + round(options.duration / DT)),
    axes={"num_neurons": options.sizes, "num_latents": options.latents},
    num_trials=options.trials,
    key=jax.random.key(options.seed),
    folder=options.output + ".cells",
    burn_in=burn_in,
    execution=rl.study.SweepExecution(progress=rl.study.Progress("sweep")),
)
studies = {p: result.convergence(num_latents=p) for p in options.latents}
smallest = min(options.sizes)
for p, study in studies.items():
    print(f"{p} latents")
    _study.print_table(study, fit_from=smallest, digits=2)

curves = {
    "A": {f"$p$ = {p}": study.generalised for p, study in studies.items()},
    "B": {f"$p$ = {p}": study.conventional for p, study in studies.items()},
}
titles = {"A": "To the generalised rate", "B": "To the conventional rate"}
with _script.picture(options, "AB", titles, (9, 3.6)) as axes:
    axes["B"].sharey(axes["A"])
    for letter, of_latents in curves.items():
        rl.plot.convergence(of_latents, unit="s.d. of input", ax=axes[letter])
result.dataset().to_netcdf(options.output + ".nc")  # needs xarray
