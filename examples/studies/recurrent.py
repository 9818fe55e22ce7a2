"""Recurrent networks of spiking neurons follow their generalised rate, as fast as their kind allows.

Two networks: one stores random patterns (Schmutz, Brea and Gerstner 2025) between neurons
that are refractory for 8 ms, the other inhibits itself:

    python examples/studies/recurrent.py            # N from 512 to 8192
    python examples/studies/recurrent.py --quick    # N from 128 to 512, for a first look

A  overlaps of the activity with two stored patterns, spiking and as either rate network.
   A weak cue, mixed with another pattern, is completed, and a pulse then moves the network
   to the other pattern. The cue lies between the thresholds of the two rate networks, since
   neurons that have not fired for a while answer more strongly than their stationary rate
   says: the conventional rate forgets it
B  the same, magnified: refractory neurons that were excited together fire together again
C  error against N of the stable inhibitory loop under white noise, away from any threshold,
   and the prediction of it without a spike
D  single trials of the network with the patterns after the weak cue, near its threshold.
   Where spikes and rate end in different patterns, the error is that of the switch, whatever
   N: the mean is the share of such trials, and has no slope of its own

Writes recurrent.png, recurrent.pdf and recurrent.csv (a row for each trial, as it
finishes).
"""

import argparse
import csv
import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import TextIO

import _script
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

import ratelike as rl

QUICK = dict(min_size=128, max_size=512, shown_size=1024, trials=2)

GRID = rl.TimeGrid(1e-3, 500)
PATTERNS = LATENTS = 3
BURN_IN = 100  # steps, of the inhibitory loop
REFRACTORY = rl.ExponentialRefractory(
    amplitude=4.0, tau=10e-3, dead_time=8e-3, memory=40e-3
)
NEURON = rl.SRM0(refractory=REFRACTORY)
# A trial with a larger distance has ended elsewhere than the rate network: the overlap of a pattern is about one.
SWITCHED = 0.1


class Pulses(rl.extend.AbstractDrive):
    """Input along the patterns: for each pulse its beginning and end in ms, and a strength for each pattern."""

    pulses: tuple[tuple[float, float, tuple[float, ...]], ...] = eqx.field(static=True)

    def increments(self, grid: rl.TimeGrid) -> jax.Array:
        times = 1e3 * grid.times[:-1, None]
        strength = sum(
            ((times >= begin - 1e-6) & (times < end - 1e-6)) * np.array(along)
            for begin, end, along in self.pulses
        )
        return jnp.asarray(strength * grid.dt)


# A cue for the first pattern with some of the second, and a pulse from the first to the second. The cue is between the
# thresholds of both rate networks, which depend on the patterns (seed 0: below 0.65, above 0.85).
CUES = Pulses(
    ((50.0, 54.0, (0.75, 0.375, 0.0)), (250.0, 260.0, (-1.0, 2.0, 0.0))),
)


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    parser = make_parser()
    options = _script.parse(parser, arguments, output="recurrent", quick=QUICK)
    sizes = _script.doubled(options.min_size, options.max_size)
    keys = jax.random.split(jax.random.key(options.seed), 4)
    try:
        png, pdf, table = _script.files(options)
        file = table.open("w", newline="")
    except OSError as error:
        parser.error(str(error))
    with file:
        stable, bistable = run_studies(sizes, options, keys[2], file)
    predicted = predict(sizes, options.predictions, keys[3])
    traces = simulate_traces(options.shown_size, keys[:2])
    with mpl.rc_context(_script.STYLE):
        figure = draw(traces, stable, predicted, bistable, options)
        figure.savefig(png, dpi=200)
        figure.savefig(pdf)
    print_tables(stable, predicted, bistable)
    print(f"wrote {png}, {pdf}, {table}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


def make_parser() -> argparse.ArgumentParser:
    parser = _script.make_parser(
        "Draws how recurrent spiking networks follow their rate networks."
    )

    def add(name, default, text):
        parser.add_argument(name, type=count, default=default, metavar="X", help=text)

    count = _script.number(int, 1, 2**30)
    add("--min-size", 512, "smallest number N of neurons")
    add("--max-size", 8192, "largest N; sizes double from the smallest on")
    add("--shown-size", 4096, "N of the traces")
    add("--trials", 6, "trials at the largest N, proportionally more at others")
    add("--predictions", 4, "networks of each size for which the error is predicted")
    add("--workers", os.cpu_count() or 1, "parts of the study run beside each other")
    return parser


# Networks


def memory(num_neurons: int, key: jax.Array) -> rl.Network:
    """Silent at a few hertz, or within a pattern at about 30 Hz."""
    return rl.attractor_network(
        NEURON,
        num_neurons=num_neurons,
        num_patterns=PATTERNS,
        key=key,
        gain=8.0,
        bias=-1.0,
        delay=1e-3,
    )


def inhibited(num_neurons: int, key: jax.Array) -> rl.Network:
    """What comes in is subtracted from itself, 2 ms later, as the neurons hand it on."""
    relay = rl.relay_network(
        rl.SRM0(), num_neurons=num_neurons, num_latents=LATENTS, depth=1, key=key
    )
    layer = relay.layers[0]
    feedback = rl.Feedback(layer.encoder, -layer.decoder, 2e-3)
    return rl.Network(
        [eqx.tree_at(lambda x: x.feedback, layer, feedback, is_leaf=none)]
    )


def none(leaf: object) -> bool:
    return leaf is None


# Simulations


def simulate_traces(size: int, keys: jax.Array) -> dict[str, rl.Trajectory]:
    network = memory(size, keys[0])
    dynamics = {
        "spiking": rl.Spiking(),
        "generalised rate": rl.GeneralisedRate(),
        "conventional rate": rl.ConventionalRate(),
    }
    return {
        name: rl.simulate(network, CUES, GRID, each, key=keys[1])
        for name, each in dynamics.items()
    }


def run_studies(
    sizes: list[int], options: argparse.Namespace, key: jax.Array, file: TextIO
) -> tuple[rl.study.Convergence, rl.study.Convergence]:
    writer = csv.writer(file)
    errors = ["error_generalised", "error_conventional"]
    writer.writerow(["network", "size", "trial", *errors, "rate_hz"])

    def run(name: str, make: Callable, **more) -> rl.study.Convergence:
        def save(cell: rl.study.Cell) -> None:
            values = zip(cell.generalised, cell.conventional, cell.rates, strict=True)
            for trial, row in enumerate(values, start=cell.first_trial):
                numbers = (f"{value:.8g}" for value in row)
                writer.writerow([name, cell.size, trial, *numbers])
            file.flush()  # an interrupted run keeps what is finished

        # disable=None: no bar where nobody watches.
        bar = functools.partial(tqdm, desc=name, unit="cell", disable=None)
        execution = rl.study.Execution(
            workers=options.workers, progress=bar, on_cell=save
        )
        return rl.convergence(
            make, sizes, GRID, num_trials=options.trials, key=key, execution=execution, **more
        )  # fmt: skip

    stable = run("inhibitory", inhibited, burn_in=BURN_IN)
    # The overlap after the cue and after the pulse.
    return stable, run("patterns", memory, make_drive=lambda network, key: CUES)


def predict(sizes: list[int], number: int, key: jax.Array) -> np.ndarray:
    """Of the inhibitory loop: errors without a spike, (sizes, networks)."""

    def one(size: int, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 3)
        network = inhibited(size, keys[0])
        drive = rl.WienerDrive(LATENTS, tau_m=network.output_tau_m, key=keys[1])
        return rl.expected_error(network, drive, GRID, burn_in=BURN_IN, key=keys[2])

    keys = jax.random.split(key, number)
    return np.array([[one(size, key) for key in keys] for size in sizes])


def print_tables(
    stable: rl.study.Convergence, predicted: np.ndarray, bistable: rl.study.Convergence
) -> None:
    print(
        "inhibitory loop\n     N  trials  error to generalised (s.e.)  predicted (s.e.)  conventional"
    )
    for index, size in enumerate(stable.sizes):
        errors = stable.generalised.values[index]
        columns = [f"{size:6}  {len(errors):6}"]
        for each, width in ((errors, 27), (predicted[index], 16)):
            text = f"{each.mean():.4f}"
            if len(each) > 1:
                text += f" ({each.std(ddof=1) / np.sqrt(len(each)):.4f})"
            columns.append(f"{text:>{width}}")
        print(*columns, f"{stable.conventional.mean()[index]:12.4f}", sep="  ")
    for name, curve in (
        ("generalised", stable.generalised),
        ("conventional", stable.conventional),
    ):
        if len(stable.sizes) > 1:
            fit = curve.slope()
            print(
                f"slope to {name} rate: {fit.value:.3f} [{fit.lower:.3f}, {fit.upper:.3f}]"
            )
    print(
        f"patterns\n     N  trials  mean error  above {SWITCHED}  median of the others"
    )
    for size, errors in zip(bistable.sizes, bistable.generalised.values, strict=True):
        switched = errors > SWITCHED
        median = np.median(errors[~switched])
        print(
            f"{size:6}  {len(errors):6}  {errors.mean():10.4f}  {switched.sum():9}  {median:20.4f}"
        )


# The figure


def draw(
    traces: dict[str, rl.Trajectory],
    stable: rl.study.Convergence,
    predicted: np.ndarray,
    bistable: rl.study.Convergence,
    options: argparse.Namespace,
) -> Figure:
    figure = Figure(figsize=(11, 7.4))
    figure.set_layout_engine("constrained", w_pad=0.07)
    rows = figure.subfigures(2, 1, height_ratios=[1, 1.25])
    axes = rows[0].subplot_mosaic("AB", width_ratios=[1.7, 1])
    axes |= rows[1].subplot_mosaic("CD")
    draw_overlaps(axes["A"], traces)
    for time_shown, name in ((165, "with pattern 1"), (385, "with pattern 2")):
        axes["A"].text(time_shown, 1.22, name, ha="center")
    axes["A"].set_ylim(-0.45, 1.4)
    axes["A"].legend(loc="lower right", bbox_to_anchor=(1, 0.32), handlelength=1.4)
    draw_magnified(axes["B"], traces)
    draw_loop(axes["C"], stable, predicted)
    draw_trials(axes["D"], bistable)
    titles = {
        "A": f"A weak cue is completed, a pulse switches the memory ($N$ = {options.shown_size})",
        "B": "After the switch",
        "C": "Away from a threshold: a stable inhibitory loop",
        "D": "Near one: trials that end in another pattern",
    }
    _script.name_panels(axes, titles)
    return figure


def draw_overlaps(ax: Axes, traces: dict[str, rl.Trajectory]) -> None:
    for pattern in (1, 0):
        rl.plot.traces(traces, latent=pattern, ax=ax)
    for line in ax.lines[: len(traces)]:  # both patterns have the same colours
        line.set_label("_")
    for begin, end, _ in CUES.pulses:
        ax.axvspan(begin, end, color="#009E73", alpha=0.25, linewidth=0)
    top = ax.get_xaxis_transform()
    for (begin, _, _), text in zip(CUES.pulses, ("cue", "pulse"), strict=True):
        ax.text(begin - 2, 0.98, text, ha="right", va="top", transform=top)
    ax.set_ylabel("overlap $m$")


def draw_magnified(ax: Axes, traces: dict[str, rl.Trajectory]) -> None:
    draw_overlaps(ax, traces)
    ax.get_legend().remove()
    begin, spiking = CUES.pulses[1][0], traces["spiking"]
    last = np.asarray(spiking.outputs)[1e3 * spiking.times > begin + 20, 1].max()
    ax.set(xlim=(begin, begin + 110), ylim=(0.6, 1.05 * last))
    for text in ax.texts:
        text.set_visible(False)
    ax.set_ylabel("overlap with pattern 2")


def draw_loop(ax: Axes, study: rl.study.Convergence, predicted: np.ndarray) -> None:
    rl.plot.convergence(study, unit="s.d. of input", ax=ax)
    style = dict(marker="D", markersize=8, fillstyle="none", linestyle="", zorder=3)
    label = "predicted without a spike"
    ax.plot(study.sizes, predicted.mean(axis=1), color="black", label=label, **style)
    ax.set_xlabel("neurons $N$")
    ax.legend(loc="lower left", title="slopes with 95% intervals", alignment="left")


def draw_trials(ax: Axes, study: rl.study.Convergence) -> None:
    generator = np.random.default_rng(0)
    for size, errors in zip(study.sizes, study.generalised.values, strict=True):
        switched = errors > SWITCHED
        beside = size * np.exp(generator.uniform(-0.15, 0.15, len(errors)))
        for chosen, color in (
            (~switched, rl.plot.COLORS["generalised"]),
            (switched, "#CC79A7"),
        ):
            ax.plot(
                beside[chosen],
                errors[chosen],
                "o",
                color=color,
                markersize=3.5,
                alpha=0.6,
            )
    ax.plot(
        study.sizes,
        study.generalised.mean(),
        "k_-",
        markersize=14,
        linewidth=1,
        label="mean",
    )
    ax.set(xscale="log", yscale="log", xlabel="neurons $N$")
    ax.legend()


if __name__ == "__main__":
    main()
