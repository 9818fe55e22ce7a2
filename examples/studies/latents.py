"""How many latents may a network have? Error against N for p = 2 (N/64)^alpha latents.

The error of the spiking network against its generalised rate network falls as sqrt(p/N),
p latents and N neurons per layer: it converges where p grows more slowly than N. Two controls:

- p proportional to N (alpha = 1): the error stays where it is;
- exact duplicates: 64 distinct neurons, each copied N/64 times. They share their input, but
  not their spikes, so that the error falls as N^(-1/2) too: the network need not be free of
  duplicates to converge to *its* rate network.

    python examples/studies/latents.py              # some minutes
    python examples/studies/latents.py --quick      # for a first look

Prints a table of the fitted slopes beside those of sqrt(p/N), and writes latents.png,
latents.pdf and latents.csv (a row for each trial).
"""

import functools
import os

import _script
import _study
import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl

DT = 1e-3  # s
SMALLEST = (
    64  # neurons per layer, and those of a layer with duplicates that are no copies
)
FEWEST = 2  # latents, of the smallest network

options = _script.options(
    "Draws the error for numbers of latents that grow.",
    None,
    output="latents",
    quick=dict(
        max_size=512, exponents=[1.0], trials=2, duration=0.3, burn_in=0.05, depth=1
    ),
    exponents=(_script.number(float, 0, 1), [0.0, 0.25, 0.5, 0.75, 1.0], "alpha"),
    max_size=(_script.number(int, 2 * SMALLEST, 2**24), 4096, "largest N"),
    depth=(_script.count, 2, "layers of neurons"),
    trials=(_script.count, 3, "trials at the largest N, proportionally more at others"),
    duration=(_script.seconds, 0.4, "time after the burn-in in s"),
    burn_in=(_script.seconds, 0.1, "time left out at the start in s"),
)
sizes = _script.doubled(SMALLEST, options.max_size)


def make_network(
    latents: dict[int, int], has_duplicates: bool, size: int, key: jax.Array
) -> rl.Network:
    """With latents that no neuron listens to, up to the largest p: one compiled program serves all sizes."""
    distinct = SMALLEST if has_duplicates else size
    silent = max(latents.values()) - latents[size]
    network = rl.relay_network(
        rl.SRM0(),
        num_neurons=distinct,
        num_latents=latents[size],
        depth=options.depth,
        key=key,
    )

    def copies(rows: jax.Array) -> jax.Array:
        return jnp.tile(jnp.pad(rows, ((0, 0), (0, silent))), (size // distinct, 1))

    layers = [
        rl.Layer(one.neuron, copies(one.encoder), copies(one.decoder), one.bias[0])
        for one in network.layers
    ]
    return rl.Network(layers, network.output_tau_m)


def run(
    name: str, latents: dict[int, int], has_duplicates: bool, key: jax.Array
) -> tuple[rl.study.SizeCurve, rl.study.SizeCurve]:
    """Errors and rates."""
    burn_in = round(options.burn_in / DT)
    study = rl.convergence(
        functools.partial(make_network, latents, has_duplicates),
        sizes,
        rl.TimeGrid(DT, burn_in + round(options.duration / DT)),
        num_trials=options.trials,
        key=key,
        burn_in=burn_in,
        execution=rl.study.Execution(
            workers=os.cpu_count() or 1, progress=rl.study.Progress(name)
        ),
    )
    # The mean over outputs is over those that there are: the others are zero in either network.
    errors = [
        error * (max(latents.values()) / latents[size])
        for size, error in zip(sizes, study.generalised.values, strict=True)
    ]
    return rl.study.SizeCurve(sizes, errors), study.rates


names = {0.0: f"$p$ = {FEWEST}", 1.0: r"$p \propto N$"}
families = [
    (names.get(alpha, rf"$p \propto N^{{{alpha:g}}}$"), alpha, False)
    for alpha in options.exponents
]
families.append((f"duplicates of {SMALLEST} neurons, {names[0.0]}", 0.0, True))

first, last = sizes[0], sizes[-1]
print(
    f"| networks | p at N = {first} to {last} | error at {first} | error at {last} "
    "| slope, 95% interval | slope of sqrt(p/N) |\n|---|---|---|---|---|---|"
)
curves, ratios, rows = {}, [], []
for index, (name, alpha, has_duplicates) in enumerate(families):
    plain = name.translate(str.maketrans("", "", "${}")).replace(r"\propto", "~")
    latents = {size: round(FEWEST * (size / first) ** alpha) for size in sizes}
    key = jax.random.fold_in(jax.random.key(options.seed), index)
    errors, rates = run(plain, latents, has_duplicates, key)
    for size, *trials in zip(sizes, errors.values, rates.values, strict=True):
        for trial, values in enumerate(zip(*trials, strict=True)):
            rows.append([plain, size, latents[size], trial, *values])
    head = ["family", "size", "latents", "trial", "error_generalised", "rate_hz"]
    _script.write_table(
        options, head, rows
    )  # an interrupted run keeps what is finished

    ratios.append(np.array([latents[size] / size for size in sizes]))
    roots = rl.study.SizeCurve(sizes, np.sqrt(ratios[-1])[:, None])
    expected, means = roots.slope().value, errors.mean()
    curves[f"{name} ({expected:z.2f})".replace("-", "−")] = errors
    print(
        f"| {plain} | {latents[first]} to {latents[last]} | {means[0]:.4f} "
        f"| {means[-1]:.4f} | {_study.slope(errors, first, 3)} | {expected:z.3f} |"
    )

titles = {
    "A": "Convergence needs fewer latents than neurons",
    "B": r"One curve for all: $\sqrt{p/N}$",
}
with _script.picture(options, "AB", titles, (11, 4.4), width_ratios=[1.15, 1]) as axes:
    against_size, collapse = axes["A"], axes["B"]
    rl.plot.convergence(curves, unit="s.d. of input", ax=against_size)
    title = r"in brackets: slope of $\sqrt{p/N}$"
    against_size.legend(loc="lower left", title=title, alignment="left", fontsize=8.5)
    lines = against_size.lines[: len(curves)]
    for curve, ratio, line in zip(curves.values(), ratios, lines, strict=True):
        collapse.loglog(ratio, curve.mean(), "o", color=line.get_color())
    ends = np.array([np.min(ratios), np.max(ratios)])
    # Through the largest network of the first family.
    factor = next(iter(curves.values())).mean()[-1] / np.sqrt(ratios[0][-1])
    label = rf"{factor:.2g} $\sqrt{{p/N}}$"
    collapse.loglog(ends, factor * np.sqrt(ends), "k--", lw=1, label=label)
    collapse.set_xscale("log", base=2)
    collapse.set_xlabel("latents per neuron $p/N$")
    collapse.sharey(against_size)
    collapse.legend(loc="upper left")
