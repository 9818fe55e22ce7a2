"""Spiking networks converge to generalised rate networks, not to conventional ones.

Simulates multilayer relay networks of SRM0 neurons as spiking, generalised-rate and
conventional-rate networks over a range of N neurons per layer, and draws the figure:

    python examples/figure1.py              # N from 64 to 16384
    python examples/figure1.py --quick      # N from 64 to 512, for a first look

A  neurons mix the latents: potentials and spikes of a few neurons of the first layer
B  the network
C  the weights from one layer to the next, and their singular values: rank p
D  an output unit of a small network, spiking and as either rate network
E  the same of a large network, of which the small one is the first neurons
F  mean difference of the outputs against N: falls as N^(-1/2) for one of the two

Writes figure1.png, figure1.pdf and figure1.csv (a row for each trial, as it finishes).
"""

import argparse
import functools
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TextIO

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType
from studies import _script, _study
from tqdm import tqdm

import ratelike as rl

STYLE: dict[RcKeyType, Any] = {
    "font.size": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # text stays text
}

# Okabe and Ito's colours, and grey; a dynamics keeps its colour in every panel.
SPIKING, LATENT = "0.45", "#009E73"
QUICK = dict(max_size=512, trials=1, duration=0.3, burn_in=0.1, depth=2, fit_from=64)


@dataclass
class Traces:
    """A small and a large network under one drive."""

    start: float  # s, end of the burn-in
    times: np.ndarray  # s
    latents: np.ndarray  # (time, latents), kappa * dX_0
    middles: np.ndarray  # s, of the steps, to which what is recorded belongs
    recording: rl.extend.Recording  # of the small network
    outputs: dict[int, list[np.ndarray]]  # size: spiking, generalised, conventional


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(**QUICK)  # what is given explicitly still wins
        options = parser.parse_args(arguments)
    options.sizes = _script.doubled(options.min_size, options.max_size)
    if sum(size >= options.fit_from for size in options.sizes) < 2:
        rule = "a slope needs two sizes from --fit-from to --max-size"
        parser.error(f"{rule}: got {options.fit_from} for the sizes {options.sizes}")

    keys = jax.random.split(jax.random.key(options.seed), 4)
    try:
        png, pdf, table = _script.files(options)
        # Told before the table of an earlier run is overwritten.
        neuron = rl.Layer(rl.SRM0(), np.ones((1, 1)), np.ones((1, 1)))
        rl.Spiking().check("network", neuron, time_grid(options, longest=math.inf)[0])
        file = table.open("w", newline="")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    rate = generalised(options)
    with file, ThreadPoolExecutor(2) as beside:
        # Most of it is compiling, which takes one core.
        traces = beside.submit(simulate_traces, options, rate, keys[:3])
        # A weight matrix joins two layers, whatever the depth of the rest.
        shown = (options.latents, 2, max(64, 4 * options.latents), keys[0])
        pictured = beside.submit(relay, *shown)
        study = run_study(options, rate, keys[3], file)
        traces, pictured = traces.result(), pictured.result()
    with mpl.rc_context(STYLE):
        figure = draw(traces, pictured, study, options.fit_from)
        figure.savefig(png, dpi=200)
        figure.savefig(pdf)
    _study.print_table(study, options.fit_from, digits=3)
    print(f"wrote {png}, {pdf}, {table}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Draws how spiking networks converge to rate networks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def add(name, kind, default, text):
        parser.add_argument(name, type=kind, default=default, metavar="X", help=text)

    number = _script.number
    count = number(int, 1, 2**30)
    step, duration = number(float, 0.04, 2), number(float, 0.01, 1000)
    add("--latents", count, 10, "number p of latent signals")
    add("--depth", count, 3, "layers of neurons")
    add("--dt", step, 1.0, "time step in ms, of which 2 ms are a multiple")
    add("--duration", duration, 1.0, "time after the burn-in in s")
    add("--burn-in", number(float, 0, 1000), 0.2, "time left out at the start in s")
    add("--min-size", count, 64, "smallest number N of neurons per layer")
    add("--max-size", count, 16384, "largest N; sizes double from the smallest on")
    add("--trials", count, 3, "trials at the largest N, proportionally more at others")
    text = "a size with so many trials after fewer runs is left at that"
    add("--enough-trials", count, 48, text)
    add("--fit-from", count, 1024, "smallest N in the fit of the slope")
    cores = os.cpu_count() or 1
    add("--workers", count, cores, "parts of the study run beside each other")
    add("--seed", number(int, 0, 2**32 - 1), 0, "seed of weights, input and spikes")
    add("--output", str, "figure1", "path of the files without .png, .pdf and .csv")
    small = ", ".join(f"{k.replace('_', '-')} {v}" for k, v in QUICK.items())
    text = "tell every step of age apart, at about three times the run time"
    parser.add_argument("--exact", action="store_true", help=text)
    text = f"a small run of about a minute, with other defaults: {small}"
    parser.add_argument("--quick", action="store_true", help=text)
    return parser


# Simulations


def relay(latents: int, depth: int, size: int, key: jax.Array) -> rl.Network:
    return rl.relay_network(
        rl.SRM0(), num_neurons=size, num_latents=latents, depth=depth, key=key
    )


def time_grid(options: argparse.Namespace, longest: float) -> tuple[rl.TimeGrid, int]:
    """The grid, and how many of its steps are burn-in."""
    dt = options.dt * 1e-3
    burn_in = round(options.burn_in / dt)
    steps = round(min(options.duration, longest) / dt)
    return rl.TimeGrid(dt, burn_in + steps), burn_in


def simulate_traces(
    options: argparse.Namespace,
    rate: rl.GeneralisedRate,
    keys: jax.Array,
) -> Traces:
    grid, burn_in = time_grid(options, longest=0.3)
    sizes = options.sizes
    small = max((size for size in sizes[:-1] if size <= 256), default=sizes[0])
    # In larger ones the eye sees no further difference.
    large = max((size for size in sizes[1:] if size <= 4096), default=sizes[1])
    tau_m = float(rl.SRM0().tau_m)
    drive = rl.WienerDrive(options.latents, tau_m=tau_m, key=keys[1])

    increments = drive.increments(grid)

    def run(network: rl.Network, dynamics: rl.extend.AbstractDynamics) -> rl.Trajectory:
        size = network.layers[0].num_neurons
        record = {0: range(min(4, size))} if size == small else {}
        return rl.simulate(
            network, increments, grid, dynamics, key=keys[2], record=record
        )

    networks = {
        size: relay(options.latents, options.depth, size, keys[0])
        for size in (small, large)
    }
    dynamics = (rl.Spiking(), rate, rl.ConventionalRate())
    runs = {size: [run(networks[size], each) for each in dynamics] for size in networks}
    latents = rl.membrane_traces(increments, rl.SRM0().tau_m, grid.dt)
    return Traces(
        start=burn_in * grid.dt,
        times=grid.times[1:],
        middles=grid.times[1:] - 0.5 * grid.dt,
        latents=np.asarray(latents),
        recording=runs[small][0].recordings[0],
        outputs={size: [np.asarray(r.outputs) for r in runs[size]] for size in runs},
    )


def generalised(options: argparse.Namespace) -> rl.GeneralisedRate:
    """With bins that are wide at high ages: 4 10^-4 of the outputs, unless every step of age is to be told apart."""
    if options.exact:
        return rl.GeneralisedRate()
    return rl.GeneralisedRate(rl.AgeShift(rl.AgeMesh.graded(rl.SRM0())))


def run_study(
    options: argparse.Namespace,
    rate: rl.GeneralisedRate,
    key: jax.Array,
    file: TextIO,
) -> rl.study.Convergence:
    grid, burn_in = time_grid(options, longest=math.inf)
    # disable=None: no bar where nobody watches.
    progress = functools.partial(tqdm, desc="convergence", unit="cell", disable=None)
    return rl.convergence(
        functools.partial(relay, options.latents, options.depth),
        options.sizes,
        grid,
        num_trials=options.trials,
        key=key,
        burn_in=burn_in,
        dynamics=rl.study.ComparedDynamics(generalised=rate),
        execution=rl.study.Execution(
            enough_trials=options.enough_trials,
            workers=options.workers,
            progress=progress,
            on_cell=_study.cell_writer(file),
        ),
    )


# The figure


def draw(
    traces: Traces, pictured: rl.Network, study: rl.study.Convergence, fit_from: int
) -> Figure:
    figure = Figure(figsize=(11, 7))
    figure.set_layout_engine("constrained", w_pad=0.07)
    rows = figure.add_gridspec(2, 1, height_ratios=[1, 1.25])
    top, bottom = figure.add_subfigure(rows[0]), figure.add_subfigure(rows[1])
    axes = top.subplot_mosaic("ABCc", width_ratios=[1.6, 1.7, 1.25, 0.9])
    axes |= bottom.subplot_mosaic("DF;EF", width_ratios=[1.2, 1])
    axes["D"].sharex(axes["E"])
    axes["D"].sharey(axes["E"])
    small, large = traces.outputs
    draw_mixing(axes["A"], traces)
    draw_schematic(axes["B"])
    draw_weights(axes["C"], pictured)
    draw_singular_values(axes["c"], pictured)
    draw_outputs(axes["D"], traces, small)
    draw_outputs(axes["E"], traces, large)
    draw_errors(axes["F"], study, fit_from)
    axes["D"].tick_params(labelbottom=False)
    place = {"loc": "lower right", "bbox_to_anchor": (1, 0.97)}
    axes["D"].legend(**place, ncols=3, handlelength=1.4, columnspacing=1.3)
    axes["E"].set_xlabel("time (ms)")
    titles = {
        "A": "Neurons mix the latents",
        "B": "Decode, then re-encode",
        "C": "Weights of rank $p$",
        "D": f"Output, $N$ = {small}",
        "E": f"Output, $N$ = {large}",
        "F": "Spiking networks approach the generalised rate only",
    }
    _script.name_panels(axes, titles)
    return figure


def draw_mixing(ax: Axes, traces: Traces) -> None:
    shown = (traces.times > traces.start) & (traces.times <= traces.start + 0.2)
    times = 1e3 * traces.times[shown]
    latents = traces.latents[shown, :3]
    potential = np.asarray(traces.recording.potential)[shown]
    spikes = np.asarray(traces.recording.activity)[shown] > 0
    spacing, bar = 5, 3
    first, last = times[0] - 4, times[-1] + 4

    def stack(times, signals: np.ndarray, top: float, name: str, unit: str, color: str):
        heights = top - spacing * np.arange(signals.shape[1])
        raised = signals - signals.mean(axis=0) + heights
        ax.plot(times, raised, color=color, linewidth=1)
        for row, height in enumerate(heights, start=1):
            ax.text(
                first, height, f"${name}_{row}$", color=color, ha="right", va="center"
            )
        ax.plot([last, last], [top - bar / 2, top + bar / 2], color=color)
        ax.text(last + 4, top, f"{bar} {unit}", color=color, va="center")
        return raised

    stack(times, latents, 0, "x", "s.d.", LATENT)
    top = -spacing * latents.shape[1] - 3
    middles = 1e3 * traces.middles[shown]
    feet = stack(middles, potential, top, "h", r"$\Delta u$", "black")
    for foot, fired in zip(feet.T, spikes.T, strict=True):
        # A spike stands on the potential it came from.
        low, high = foot[fired], foot[fired] + 2.3
        ax.vlines(middles[fired], low, high, color=SPIKING, linewidth=2)
    ax.spines["left"].set_visible(False)
    ax.set(yticks=[], xlabel="time (ms)")


def draw_schematic(ax: Axes) -> None:
    ax.set_axis_off()
    places = [0.0, 1.2, 2.4, 3.6, 5.3]
    few, many = np.linspace(-0.5, 0.5, 3), np.linspace(-1, 1, 7)
    columns = [few, many, few, many, few]
    for column in range(4):
        ends = places[column : column + 2]
        centre = sum(ends) / 2
        pairs = [(a, b) for a in columns[column] for b in columns[column + 1]]
        ax.plot(ends, np.transpose(pairs), color="0.75", linewidth=0.5, zorder=1)
        name = ["encoder\n$E$", "decoder\n$D$"][column % 2]
        ax.text(centre, 1.15, name, ha="center", va="bottom", size=8)
        if column == 3:  # this decoder stands for all the layers that follow
            white = {"facecolor": "white", "edgecolor": "none"}
            ax.text(centre, -0.06, r"$\cdots$", size=14, bbox=white, ha="center")
    names = ["$p$ latents", "$N$ neurons", "$p$ latents", "$N$ neurons", "$p$ outputs"]
    for column, (place, name) in enumerate(zip(places, names, strict=True)):
        color, dots = "black" if column % 2 else LATENT, columns[column]
        ax.plot([place] * len(dots), dots, "o", color=color, markersize=6)
        name = name.replace(" ", "\n")
        ax.text(place, -1.2, name, ha="center", va="top", color=color)
    arrow = {"arrowstyle": "->", "connectionstyle": "arc3,rad=0.3"}
    ax.annotate("", (places[3], -2.0), (places[1], -2.0), arrowprops=arrow)
    text = r"weights $W = E\,D^{\mathrm{T}}/N$"
    ax.text(places[2], -2.7, text, ha="center", va="top")
    ax.set(xlim=(-0.5, 5.8), ylim=(-3.2, 1.9))


def draw_weights(ax: Axes, network: rl.Network) -> None:
    # A spike of neuron j makes the potential of neuron i jump by W_ij / tau_m.
    jumps = np.asarray(network.weights(0)) / float(network.output_tau_m)
    limit = np.abs(jumps).max()
    ends, size = (-0.5, len(jumps) - 0.5), len(jumps)
    image = ax.imshow(jumps, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    bar = ax.figure.colorbar(image, ax=ax)
    bar.set_label(r"$W_{ij}/\tau_m$ (escape widths $\Delta u$)")
    ax.set(xlabel="from neuron $j$", ylabel="to neuron $i$")
    ax.set_xticks(ends, ["1", f"{size}"])
    ax.set_yticks(ends, ["1", f"{size}"])


def draw_singular_values(ax: Axes, network: rl.Network) -> None:
    rank = network.layers[1].num_latents
    values = np.linalg.svd(np.asarray(network.weights(0)), compute_uv=False)[: 3 * rank]
    ax.semilogy(np.arange(1, len(values) + 1), values / values[0], ".", color="black")
    ax.axvline(rank + 0.5, color=LATENT, linewidth=1)
    top = ax.get_xaxis_transform()
    ax.text(rank + 1.5, 0.97, f"$p$ = {rank}", color=LATENT, va="top", transform=top)
    ax.set(xlabel="index", ylabel="singular value / largest", xlim=(0, 3 * rank + 1))


def draw_outputs(ax: Axes, traces: Traces, size: int) -> None:
    shown = traces.times > traces.start
    styles = [
        ("spiking", SPIKING, 2.4),
        ("generalised rate", _study.GENERALISED, 1.3),
        ("conventional rate", _study.CONVENTIONAL, 1.3),
    ]
    for outputs, (name, color, width) in zip(traces.outputs[size], styles, strict=True):
        trace, times = outputs[shown, 0], 1e3 * traces.times[shown]
        ax.plot(times, trace, color=color, linewidth=width, label=name)
    ax.margins(x=0.01)
    ax.set_ylabel("membrane $y_1$\n(s.d. of input)")


def draw_errors(ax: Axes, study: rl.study.Convergence, fit_from: int) -> None:
    rl.plot.convergence(study, fit_from=fit_from, unit="s.d. of input", digits=3, ax=ax)


if __name__ == "__main__":
    main()
