"""How many latents may a network have? Error against N for p = p0 (N/N0)^alpha latents.

The error of the spiking network against its generalised rate network falls as sqrt(p/N),
p latents and N neurons per layer: it converges where p grows more slowly than N. Two controls:

- p proportional to N (alpha = 1): the error stays where it is;
- exact duplicates: few distinct neurons, each copied N/64 times. They share their input, but
  not their spikes, so that the error falls as N^(-1/2) too: the network need not be free of
  duplicates to converge to *its* rate network.

    python examples/studies/latents.py              # some minutes
    python examples/studies/latents.py --quick      # for a first look

Draws the errors, prints a table of the fitted slopes beside those of sqrt(p/N), and writes
latents.png, latents.pdf and latents.csv (a row for each trial).
"""

import argparse
import csv
import functools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import _script
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from tqdm import tqdm

import ratelike as rl

QUICK = dict(
    max_size=512, exponents=[1.0], trials=2, duration=0.3, burn_in=0.05, depth=1
)
DT = 1e-3  # s
DISTINCT = 64  # neurons of a layer with duplicates
COLORS = ["#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"]
DUPLICATES = "0.45"


@dataclass(frozen=True)
class Family:
    """Networks of all sizes, by one rule."""

    name: str
    color: str
    num_latents: Callable[[int], int]  # p of N
    distinct: int | None = None  # neurons per layer that are not copies

    @property
    def plain_name(self) -> str:
        """Without mathematics."""
        return self.name.translate(str.maketrans("", "", "${}")).replace(
            r"\propto", "~"
        )


@dataclass
class Study:
    family: Family
    curve: rl.study.SizeCurve  # to the generalised rate
    rates: rl.study.SizeCurve  # Hz

    @property
    def latents_per_neuron(self) -> np.ndarray:
        sizes = self.curve.sizes
        return np.array([self.family.num_latents(size) / size for size in sizes])

    def expected_slope(self, fit_from: int) -> float:
        """Of sqrt(p/N), with p a whole number."""
        sizes = np.array(self.curve.sizes)
        kept = sizes >= fit_from
        ratio = np.log(self.latents_per_neuron[kept])
        slope = 0.5 * np.polyfit(np.log(sizes[kept]), ratio, 1)[0]
        return float(np.round(slope, 6)) + 0.0  # no minus zero


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    options = parse(arguments)
    png, pdf, table = _script.files(options)
    key = jax.random.key(options.seed)
    studies = []
    for index, family in enumerate(make_families(options)):
        studies.append(run(family, options, jax.random.fold_in(key, index)))
        write_table(table, studies)  # an interrupted run keeps what is finished
    print_table(studies, options.fit_from)
    with rl.plot.style():
        figure = draw(studies, options.fit_from)
        figure.savefig(png, dpi=200)
        figure.savefig(pdf)
    print(f"wrote {png}, {pdf}, {table}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _script.make_parser("Draws the error for numbers of latents that grow.")
    count, seconds = _script.count, _script.seconds
    text = "alpha, each from 0 to 1"
    exponents = [0.0, 0.25, 0.5, 0.75, 1.0]
    parser.add_argument(
        "--exponents", type=float, nargs="+", default=exponents, help=text
    )
    text = "number p0 of latents at N0 neurons"
    parser.add_argument("--latents", type=count, default=2, help=text)
    text = "N0, the smallest number of neurons per layer"
    parser.add_argument("--min-size", type=count, default=64, help=text)
    text = "largest N; sizes double from the smallest on"
    parser.add_argument("--max-size", type=count, default=4096, help=text)
    parser.add_argument("--depth", type=count, default=2, help="layers of neurons")
    text = "trials at the largest N, proportionally more at others"
    parser.add_argument("--trials", type=count, default=3, help=text)
    text = "time after the burn-in in s"
    parser.add_argument("--duration", type=seconds, default=0.4, help=text)
    text = "time left out at the start in s"
    parser.add_argument("--burn-in", type=seconds, default=0.1, help=text)
    text = "smallest N in the fits of slopes"
    parser.add_argument("--fit-from", type=count, default=64, help=text)
    text = "parts of a study beside each other"
    parser.add_argument("--workers", type=count, default=os.cpu_count() or 1, help=text)
    options = _script.parse(parser, arguments, output="latents", quick=QUICK)
    if not all(0.0 <= alpha <= 1.0 for alpha in options.exponents):
        parser.error(f"--exponents must be from 0 to 1, got {options.exponents}")
    if len(options.exponents) > len(COLORS):
        parser.error(f"--exponents takes at most {len(COLORS)} values")
    if options.min_size % DISTINCT:
        rule = f"--min-size must be a multiple of {DISTINCT}, the distinct neurons"
        parser.error(f"{rule} among duplicates, got {options.min_size}")
    # As many as fit: floor(log2(max / min)) + 1.
    doublings = (options.max_size // options.min_size).bit_length()
    options.sizes = [options.min_size * 2**k for k in range(doublings)]
    if sum(size >= options.fit_from for size in options.sizes) < 2:
        rule = "a slope needs two sizes from --fit-from to --max-size"
        parser.error(f"{rule}: got {options.fit_from} for the sizes {options.sizes}")
    return options


def make_families(options: argparse.Namespace) -> list[Family]:
    def latents(alpha: float, size: int) -> int:
        return round(options.latents * (size / options.min_size) ** alpha)

    def name_of(alpha: float) -> str:
        names = {0.0: f"$p$ = {options.latents}", 1.0: r"$p \propto N$"}
        return names.get(alpha, rf"$p \propto N^{{{alpha:g}}}$")

    families = [
        Family(name_of(alpha), color, functools.partial(latents, alpha))
        for alpha, color in zip(options.exponents, COLORS, strict=False)
    ]
    name = f"duplicates of {DISTINCT} neurons, $p$ = {options.latents}"
    few = functools.partial(latents, 0.0)
    return [*families, Family(name, DUPLICATES, few, DISTINCT)]


def make_network(
    family: Family, depth: int, most_latents: int, size: int, key: jax.Array
) -> rl.Network:
    """With latents that no neuron listens to, up to the largest p: one compiled program serves all sizes."""
    latents = family.num_latents(size)
    distinct = size if family.distinct is None else family.distinct
    network = rl.relay_network(
        rl.SRM0(), num_neurons=distinct, num_latents=latents, depth=depth, key=key
    )

    def arrays_of(rows):
        return jnp.tile(
            jnp.pad(rows, ((0, 0), (0, most_latents - latents))), (size // distinct, 1)
        )

    layers = [
        rl.Layer(
            layer.neuron,
            arrays_of(layer.encoder),
            arrays_of(layer.decoder),
            layer.bias[0],
        )
        for layer in network.layers
    ]
    return rl.Network(layers, network.output_tau_m)


def run(family: Family, options: argparse.Namespace, key: jax.Array) -> Study:
    burn_in = round(options.burn_in / DT)
    sizes = options.sizes
    most = max(map(family.num_latents, sizes))
    # disable=None: no bar where nobody watches.
    progress = functools.partial(
        tqdm, desc=family.plain_name, unit="cell", disable=None
    )
    study = rl.convergence(
        functools.partial(make_network, family, options.depth, most),
        sizes,
        rl.TimeGrid(DT, burn_in + round(options.duration / DT)),
        num_trials=options.trials,
        key=key,
        burn_in=burn_in,
        execution=rl.study.Execution(workers=options.workers, progress=progress),
    )
    # The mean over outputs is over those that there are: the others are zero in either network.
    errors = tuple(
        errors * (most / family.num_latents(size))
        for size, errors in zip(sizes, study.generalised.values, strict=True)
    )
    return Study(family, rl.study.SizeCurve(study.sizes, errors), study.rates)


def write_table(path: Path, studies: Sequence[Study]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = ["family", "size", "latents", "trial", "error_generalised", "rate_hz"]
        writer.writerow(names)
        for study in studies:
            name = study.family.plain_name
            cells = zip(
                study.curve.sizes, study.curve.values, study.rates.values, strict=True
            )
            for size, errors, rates in cells:
                latents = study.family.num_latents(size)
                for trial, values in enumerate(zip(errors, rates, strict=True)):
                    numbers = [f"{value:.8g}" for value in values]
                    writer.writerow([name, size, latents, trial, *numbers])


def print_table(studies: Sequence[Study], fit_from: int) -> None:
    """In Markdown."""
    sizes = studies[0].curve.sizes
    first, last = sizes[0], sizes[-1]
    print(
        f"| networks | p at N = {first} to {last} | error at {first} | error at {last} "
        "| slope, 95% interval | slope of sqrt(p/N) |\n|---|---|---|---|---|---|"
    )
    for study in studies:
        latents = [study.family.num_latents(size) for size in (first, last)]
        means = study.curve.mean()
        print(
            f"| {study.family.plain_name} | {latents[0]} to {latents[1]} "
            f"| {means[0]:.4f} | {means[-1]:.4f} | {slope(study, fit_from)} "
            f"| {study.expected_slope(fit_from):.3f} |"
        )


def slope(study: Study, fit_from: int) -> str:
    fit = study.curve.slope(fit_from)
    return f"{fit.value:.3f} [{fit.lower:.3f}, {fit.upper:.3f}]"


# The figure


def draw(studies: Sequence[Study], fit_from: int) -> Figure:
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    axes = figure.subplot_mosaic("AB", width_ratios=[1.15, 1])
    draw_sizes(axes["A"], studies, fit_from)
    draw_collapse(axes["B"], studies)
    axes["B"].sharey(axes["A"])
    titles = {
        "A": "Convergence needs fewer latents than neurons",
        "B": r"One curve for all: $\sqrt{p/N}$",
    }
    _script.name_panels(axes, titles)
    return figure


def style_of(family: Family) -> dict:
    marker = "o" if family.distinct is None else "s"
    filled = family.color if family.distinct is None else "none"
    return {"color": family.color, "marker": marker, "markerfacecolor": filled}


def draw_sizes(ax: Axes, studies: Sequence[Study], fit_from: int) -> None:
    sizes = np.array(studies[0].curve.sizes)
    for study in studies:
        fit = study.curve.slope(fit_from)
        numbers = f"{fit.value:z.2f} ({study.expected_slope(fit_from):.2f})"
        label = f"{study.family.name}: {numbers}".replace("-", "−")
        ax.loglog(sizes, study.curve.mean(), **style_of(study.family), label=label)
        # NaN, and no band, where there is one trial.
        lower, upper = study.curve.confidence_interval()
        band = {"color": study.family.color, "alpha": 0.25, "linewidth": 0}
        ax.fill_between(sizes, np.maximum(lower, 1e-9), upper, **band)
    means = np.array([study.curve.mean() for study in studies])
    # Room for the legend below the data.
    ax.set_ylim(means.min() / 8, means.max() * 1.4)
    ax.set_xticks(sizes, [f"{size}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    label_errors(ax)
    ax.set_xlabel("neurons per layer $N$")
    title = "slope of the error (of $\\sqrt{p/N}$)"
    ax.legend(loc="lower left", title=title, alignment="left", fontsize=8)


def draw_collapse(ax: Axes, studies: Sequence[Study]) -> None:
    for study in studies:
        style = {**style_of(study.family), "linestyle": "none"}
        ax.loglog(study.latents_per_neuron, study.curve.mean(), **style)
    every = np.concatenate([study.latents_per_neuron for study in studies])
    ends = np.array([every.min(), every.max()])
    # Through the largest network of the first family.
    first = studies[0]
    factor = first.curve.mean()[-1] / np.sqrt(first.latents_per_neuron[-1])
    label = rf"{factor:.2g} $\sqrt{{p/N}}$"
    ax.loglog(ends, factor * np.sqrt(ends), "--", color="black", lw=1, label=label)
    label_errors(ax)
    steps = np.arange(np.floor(np.log2(ends[0])), np.ceil(np.log2(ends[1])) + 1, 2)
    ax.set_xticks(2.0**steps, [f"1/{2.0**-step:g}" for step in steps])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("latents per neuron $p/N$")
    ax.legend(loc="upper left")


def label_errors(ax: Axes) -> None:
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel(r"mean $|y_{\mathrm{spiking}} - y_{\mathrm{rate}}|$ (s.d. of input)")


if __name__ == "__main__":
    main()
