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
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import _script
import _study
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from tqdm import tqdm

import ratelike as rl

QUICK = dict(
    max_size=512, exponents=[1.0], trials=2, duration=0.3, burn_in=0.05, depth=1
)
DT = 1e-3  # s
DISTINCT = 64  # neurons of a layer with duplicates
MOST_EXPONENTS = 6


@dataclass(frozen=True)
class Family:
    """Networks of all sizes, by one rule."""

    name: str
    num_latents: Callable[[int], int]  # p of N
    distinct: int | None = None  # neurons per layer that are not copies

    @property
    def plain_name(self) -> str:
        """Without mathematics."""
        return self.name.translate(str.maketrans("", "", "${}")).replace(
            r"\propto", "~"
        )

    def ratios(self, sizes: Sequence[int]) -> np.ndarray:
        """p/N, with p a whole number."""
        return np.array([self.num_latents(size) / size for size in sizes])

    def expected_slope(self, sizes: Sequence[int]) -> float:
        """Of sqrt(p/N)."""
        slope = np.polyfit(np.log(sizes), 0.5 * np.log(self.ratios(sizes)), 1)[0]
        return float(np.round(slope, 6)) + 0.0  # no minus zero


Studies = list[tuple[Family, rl.study.Convergence]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    key, studies = jax.random.key(options.seed), []
    for index, family in enumerate(make_families(options)):
        studies.append((family, run(family, options, jax.random.fold_in(key, index))))
        write_table(options, studies)  # an interrupted run keeps what is finished
    print_table(studies, options.fit_from)
    titles = {
        "A": "Convergence needs fewer latents than neurons",
        "B": r"One curve for all: $\sqrt{p/N}$",
    }
    with _script.picture(
        options, "AB", titles, (11, 4.4), width_ratios=[1.15, 1]
    ) as axes:
        draw_sizes(axes["A"], studies, options.fit_from)
        draw_collapse(axes["B"], studies, axes["A"])
        axes["B"].sharey(axes["A"])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    count, seconds = _script.count, _script.seconds
    options = _script.options(
        "Draws the error for numbers of latents that grow.",
        arguments,
        output="latents",
        quick=QUICK,
        exponents=(float, [0.0, 0.25, 0.5, 0.75, 1.0], "alpha, each from 0 to 1"),
        latents=(count, 2, "number p0 of latents at N0 neurons"),
        min_size=(count, 64, "N0, the smallest number of neurons per layer"),
        max_size=(count, 4096, "largest N; sizes double from the smallest on"),
        depth=(count, 2, "layers of neurons"),
        trials=(count, 3, "trials at the largest N, proportionally more at others"),
        duration=(seconds, 0.4, "time after the burn-in in s"),
        burn_in=(seconds, 0.1, "time left out at the start in s"),
        fit_from=(count, 64, "smallest N in the fits of slopes"),
        workers=(count, os.cpu_count() or 1, "parts of a study beside each other"),
    )
    options.sizes, exponents = _script.sizes(options), options.exponents
    if not all(0.0 <= a <= 1.0 for a in exponents) or len(exponents) > MOST_EXPONENTS:
        raise SystemExit(f"--exponents takes {MOST_EXPONENTS} from 0 to 1: {exponents}")
    if options.min_size % DISTINCT:
        raise SystemExit(f"--min-size must be a multiple of {DISTINCT}")
    return options


def make_families(options: argparse.Namespace) -> list[Family]:
    def latents(alpha: float, size: int) -> int:
        return round(options.latents * (size / options.min_size) ** alpha)

    def name_of(alpha: float) -> str:
        names = {0.0: f"$p$ = {options.latents}", 1.0: r"$p \propto N$"}
        return names.get(alpha, rf"$p \propto N^{{{alpha:g}}}$")

    families = [
        Family(name_of(alpha), functools.partial(latents, alpha))
        for alpha in options.exponents
    ]
    name = f"duplicates of {DISTINCT} neurons, $p$ = {options.latents}"
    few = functools.partial(latents, 0.0)
    return [*families, Family(name, few, DISTINCT)]


def make_network(
    family: Family, depth: int, most_latents: int, size: int, key: jax.Array
) -> rl.Network:
    """With latents that no neuron listens to, up to the largest p: one compiled program serves all sizes."""
    latents, distinct = family.num_latents(size), family.distinct or size
    network = rl.relay_network(
        rl.SRM0(), num_neurons=distinct, num_latents=latents, depth=depth, key=key
    )

    def copies(rows: jax.Array) -> jax.Array:
        padded = jnp.pad(rows, ((0, 0), (0, most_latents - latents)))
        return jnp.tile(padded, (size // distinct, 1))

    layers = [
        rl.Layer(one.neuron, copies(one.encoder), copies(one.decoder), one.bias[0])
        for one in network.layers
    ]
    return rl.Network(layers, network.output_tau_m)


def run(
    family: Family, options: argparse.Namespace, key: jax.Array
) -> rl.study.Convergence:
    burn_in = round(options.burn_in / DT)
    most = max(map(family.num_latents, options.sizes))
    # disable=None: no bar where nobody watches.
    progress = functools.partial(
        tqdm, desc=family.plain_name, unit="cell", disable=None
    )
    study = rl.convergence(
        functools.partial(make_network, family, options.depth, most),
        options.sizes,
        rl.TimeGrid(DT, burn_in + round(options.duration / DT)),
        num_trials=options.trials,
        key=key,
        burn_in=burn_in,
        execution=rl.study.Execution(workers=options.workers, progress=progress),
    )

    def of_real(curve: rl.study.SizeCurve) -> rl.study.SizeCurve:
        """The mean over outputs is over those that there are: the others are zero in either network."""
        pairs = zip(study.sizes, curve.values, strict=True)
        scaled = [each * (most / family.num_latents(size)) for size, each in pairs]
        return rl.study.SizeCurve(study.sizes, scaled)

    both = of_real(study.generalised), of_real(study.conventional)
    return rl.study.Convergence(*both, study.rates)


def write_table(options: argparse.Namespace, studies: Studies) -> None:
    names = ["family", "size", "latents", "trial", "error_generalised", "rate_hz"]
    rows = [
        [family.plain_name, size, family.num_latents(size), trial, error, rate]
        for family, study in studies
        for size, errors, rates in zip(
            study.sizes, study.generalised.values, study.rates.values, strict=True
        )
        for trial, (error, rate) in enumerate(zip(errors, rates, strict=True))
    ]
    _script.write_table(options, names, rows)


def print_table(studies: Studies, fit_from: int) -> None:
    """In Markdown."""
    sizes = studies[0][1].sizes
    first, last = sizes[0], sizes[-1]
    print(
        f"| networks | p at N = {first} to {last} | error at {first} | error at {last} "
        "| slope, 95% interval | slope of sqrt(p/N) |\n|---|---|---|---|---|---|"
    )
    for family, study in studies:
        means = study.generalised.mean()
        expected = family.expected_slope([n for n in sizes if n >= fit_from])
        print(
            f"| {family.plain_name} | {family.num_latents(first)} to {family.num_latents(last)} "
            f"| {means[0]:.4f} | {means[-1]:.4f} "
            f"| {_study.slope(study.generalised, fit_from, 3)} | {expected:.3f} |"
        )


# The figure


def draw_sizes(ax: Axes, studies: Studies, fit_from: int) -> None:
    fitted = [n for n in studies[0][1].sizes if n >= fit_from]
    curves = {}
    for family, study in studies:
        expected = f"{family.expected_slope(fitted):z.2f}".replace("-", "−")
        curves[f"{family.name} ({expected})"] = study.generalised
    rl.plot.convergence(curves, fit_from=fit_from, unit="s.d. of input", ax=ax)
    for (family, _), line in zip(studies, ax.lines, strict=False):
        if family.distinct is not None:
            line.set_markerfacecolor("none")
    title = r"in brackets: slope of $\sqrt{p/N}$"
    ax.legend(loc="lower left", title=title, alignment="left", fontsize=8.5)


def draw_collapse(ax: Axes, studies: Studies, beside: Axes) -> None:
    colors = [line.get_color() for line in beside.lines]
    for (family, study), color in zip(studies, colors, strict=False):
        fill = color if family.distinct is None else "none"
        means = study.generalised.mean()
        ax.loglog(family.ratios(study.sizes), means, "o", color=color, mfc=fill)
    every = np.concatenate([family.ratios(study.sizes) for family, study in studies])
    ends = np.array([every.min(), every.max()])
    # Through the largest network of the first family.
    family, study = studies[0]
    factor = study.generalised.mean()[-1] / np.sqrt(family.ratios(study.sizes)[-1])
    label = rf"{factor:.2g} $\sqrt{{p/N}}$"
    ax.loglog(ends, factor * np.sqrt(ends), "--", color="black", lw=1, label=label)
    steps = np.arange(np.floor(np.log2(ends[0])), np.ceil(np.log2(ends[1])) + 1, 2)
    ax.set_xticks(2.0**steps, [f"1/{2.0**-step:g}" for step in steps])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("latents per neuron $p/N$")
    ax.legend(loc="upper left")


if __name__ == "__main__":
    main()
