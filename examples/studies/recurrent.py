"""A recurrent network of spiking neurons remembers patterns as its generalised rate does.

The weights store random patterns (Schmutz, Brea and Gerstner 2025), here between neurons
that are refractory for 8 ms. A weak cue, mixed with another pattern, is completed; a
strong pulse then moves the network to the other pattern:

    python examples/studies/recurrent.py            # N from 256 to 4096
    python examples/studies/recurrent.py --quick    # N from 128 to 512 in D, for a first look

A  overlaps of the activity with two stored patterns, spiking and as either rate network,
   of 4096 neurons: the weak cue is so near the threshold that fewer may forget it
B  the same, magnified: refractory neurons that were excited together fire together again
C  spikes of a few neurons, ordered by their place in the second pattern
D  mean difference of the overlaps against N: falls for one of the two

The cue lies between the thresholds of the two rate networks: neurons that have not fired
for a while answer more strongly than their stationary rate says. So the spiking network
and the generalised rate retrieve the pattern, and the conventional rate forgets it. In D
the cue is strong enough for both.

Writes recurrent.png, recurrent.pdf and recurrent.csv (a row for each trial, as it
finishes).
"""

import argparse
import functools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

import _script
import _study
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

import ratelike as rl

SPIKING = "0.6"
QUICK = dict(min_size=128, max_size=512, trials=2, fit_from=128)

GRID = rl.TimeGrid(1e-3, 500)
NEURON = rl.SRM0(
    refractory=rl.ExponentialRefractory(
        amplitude=4.0, tau=10e-3, dead_time=8e-3, memory=40e-3
    )
)
PATTERNS = 3
RASTER_NEURONS = 120


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


def cues(strength: float) -> Pulses:
    """A cue for the first pattern with some of the second, and a pulse from the first to the second."""
    cue = (50.0, 54.0, (strength, 0.5 * strength, 0.0))
    return Pulses((cue, (250.0, 260.0, (-1.0, 2.0, 0.0))))


# Between the thresholds of both rate networks, which depend on the patterns (seed 0: below 0.65, above 0.85); and above both.
WEAK, STRONG = cues(0.75), cues(2.0)


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    parser = make_parser()
    options = _script.parse(parser, arguments, output="recurrent", quick=QUICK)
    sizes = _script.doubled(options.min_size, options.max_size)
    if sum(size >= options.fit_from for size in sizes) < 2:
        parser.error(f"--fit-from must leave at least two of the sizes {sizes}")
    keys = jax.random.split(jax.random.key(options.seed), 3)
    try:
        png, pdf, table = _script.files(options)
        file = table.open("w", newline="")
    except OSError as error:
        parser.error(str(error))
    with file:
        study = run_study(sizes, options.trials, options.workers, keys[2], file)
    traces = simulate_traces(options.shown_size, keys[:2])
    with mpl.rc_context(_script.STYLE):
        figure = draw(traces, study, options.fit_from)
        figure.savefig(png, dpi=200)
        figure.savefig(pdf)
    _study.print_table(study, options.fit_from, digits=2)
    print(f"wrote {png}, {pdf}, {table}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


def make_parser() -> argparse.ArgumentParser:
    parser = _script.make_parser(
        "Draws how a recurrent spiking network follows its rate network."
    )

    def add(name, kind, default, text):
        parser.add_argument(name, type=kind, default=default, metavar="X", help=text)

    count = _script.number(int, 1, 2**30)
    add("--min-size", count, 256, "smallest number N of neurons")
    add("--max-size", count, 4096, "largest N; sizes double from the smallest on")
    add("--shown-size", count, 4096, "N of the traces and the raster")
    add("--fit-from", count, 1024, "smallest N in the fit of the slope")
    add("--trials", count, 4, "trials at the largest N, proportionally more at others")
    cores = os.cpu_count() or 1
    add("--workers", count, cores, "parts of the study run beside each other")
    return parser


# Simulations


@dataclass
class Traces:
    """One network under the cues."""

    size: int
    times: np.ndarray  # ms, the ends of steps, at which overlaps are read
    middles: np.ndarray  # ms, of steps: where spikes are
    overlaps: list[np.ndarray]  # spiking, generalised, conventional: (time, patterns)
    spikes: np.ndarray  # (time, neurons)
    pattern: np.ndarray  # the second one, of these neurons


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


def simulate_traces(size: int, keys: jax.Array) -> Traces:
    network = memory(size, keys[0])
    shown = range(min(RASTER_NEURONS, size))
    runs = [
        rl.simulate(network, WEAK, GRID, each, key=keys[1], record={0: shown})
        for each in (rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate())
    ]
    return Traces(
        size=size,
        times=1e3 * runs[0].times,
        middles=1e3 * runs[0].step_times,
        overlaps=[np.asarray(run.outputs) for run in runs],
        spikes=np.asarray(runs[0].recordings[0].activity) > 0,
        pattern=np.asarray(network.layers[0].encoder[: len(shown), 1]),
    )


def run_study(
    sizes: list[int], trials: int, workers: int, key: jax.Array, file: TextIO
) -> rl.study.Convergence:
    # disable=None: no bar where nobody watches.
    progress = functools.partial(tqdm, desc="convergence", unit="cell", disable=None)
    return rl.convergence(
        memory,
        sizes,
        GRID,
        num_trials=trials,
        key=key,
        make_drive=lambda network, key: STRONG,
        execution=rl.study.Execution(
            workers=workers, progress=progress, on_cell=_study.cell_writer(file)
        ),
    )


# The figure


def draw(traces: Traces, study: rl.study.Convergence, fit_from: int) -> Figure:
    figure = Figure(figsize=(11, 7))
    figure.set_layout_engine("constrained", w_pad=0.07)
    axes = figure.subplot_mosaic("AB;CD", width_ratios=[1.7, 1])
    axes["A"].sharex(axes["C"])
    draw_overlaps(axes["A"], traces)
    for time_shown, name in ((165, "with pattern 1"), (385, "with pattern 2")):
        axes["A"].text(time_shown, 1.22, name, ha="center")
    axes["A"].set_ylim(-0.45, 1.4)
    place = {"loc": "lower right", "bbox_to_anchor": (1, 0.32)}
    axes["A"].legend(**place, handlelength=1.4)
    draw_magnified(axes["B"], traces)
    draw_raster(axes["C"], traces)
    draw_errors(axes["D"], study, fit_from)
    titles = {
        "A": f"A weak cue is completed, a pulse switches the memory ($N$ = {traces.size})",
        "B": "After the switch",
        "C": f"{len(traces.pattern)} of the neurons, ordered by pattern 2",
        "D": "Distance to either rate network (strong cue)",
    }
    _script.name_panels(axes, titles)
    return figure


def draw_overlaps(ax: Axes, traces: Traces) -> None:
    styles = [
        ("spiking", SPIKING, 2.6),
        ("generalised rate", _study.GENERALISED, 1.1),
        ("conventional rate", _study.CONVENTIONAL, 1.1),
    ]
    for overlaps, (name, color, width) in zip(traces.overlaps, styles, strict=True):
        for pattern in (1, 0):
            label = name if pattern == 0 else None
            trace = overlaps[:, pattern]
            ax.plot(traces.times, trace, color=color, linewidth=width, label=label)
    mark_cues(ax)
    ax.set_ylabel("overlap $m$")
    ax.tick_params(labelbottom=False)


def mark_cues(ax: Axes) -> None:
    for begin, end, _ in WEAK.pulses:
        ax.axvspan(begin, end, color="#009E73", alpha=0.25, linewidth=0)
    top = ax.get_xaxis_transform()
    for (begin, _, _), text in zip(WEAK.pulses, ("cue", "pulse"), strict=True):
        ax.text(begin - 2, 0.98, text, ha="right", va="top", transform=top)


def draw_magnified(ax: Axes, traces: Traces) -> None:
    draw_overlaps(ax, traces)
    begin = WEAK.pulses[1][0]
    last = traces.overlaps[0][traces.times > begin + 20, 1].max()
    ax.set(xlim=(begin, begin + 110), ylim=(0.6, 1.05 * last), xlabel="time (ms)")
    ax.tick_params(labelbottom=True)
    for text in ax.texts:
        text.set_visible(False)
    ax.set_ylabel("overlap with pattern 2")


def draw_raster(ax: Axes, traces: Traces) -> None:
    order = np.argsort(traces.pattern)
    step, row = np.nonzero(traces.spikes[:, order])
    ax.plot(traces.middles[step], row, "|", color="black", markersize=2.5)
    mark_cues(ax)
    for text in ax.texts:  # the panel above has them
        text.set_visible(False)
    ax.set(xlabel="time (ms)", ylabel="neuron", ylim=(-1, len(order)))
    ax.set_xlim(0, traces.times[-1])


def draw_errors(ax: Axes, study: rl.study.Convergence, fit_from: int) -> None:
    rl.plot.convergence(study, fit_from=fit_from, ax=ax)
    text = r"mean $|m_{\mathrm{spiking}} - m_{\mathrm{rate}}|$"
    ax.set(xlabel="neurons $N$", ylabel=text)


if __name__ == "__main__":
    main()
