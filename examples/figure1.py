"""Spiking networks with memory converge to generalised rate networks, not to conventional ones.

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
import csv
import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.signal import lfilter
from tqdm import tqdm

import ratelike as rl

# Okabe and Ito's colours, and grey; a dynamics keeps its colour in every panel.
SPIKING, GENERALISED, CONVENTIONAL, LATENT = "0.45", "#0072B2", "#D55E00", "#009E73"
STYLE = {
    "font.size": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # text stays text
}
QUICK = {
    "max_size": 512,
    "trials": 1,
    "duration": 0.3,
    "burn_in": 0.1,
    "depth": 2,
    "fit_from": 64,
}
OUTPUT = 1  # the output unit of panels D and E


@dataclass
class Traces:
    """A small and a large network under one drive."""

    start: float  # s, end of the burn-in
    times: np.ndarray  # s
    latents: np.ndarray  # (time, latents), kappa * dX_0
    recording: rl.Recording  # of the small network
    outputs: dict[int, list[np.ndarray]]  # size: spiking, generalised, conventional


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(**QUICK)  # what is given explicitly still wins
        options = parser.parse_args(arguments)
    sizes = [options.min_size]
    while 2 * sizes[-1] <= options.max_size:
        sizes.append(2 * sizes[-1])
    if sum(size >= options.fit_from for size in sizes) < 2:
        parser.error(f"--fit-from {options.fit_from} leaves fewer than two of {sizes}")

    make_network = functools.partial(relay, options.latents, options.depth)
    keys = jax.random.split(jax.random.key(options.seed), 4)
    # with_suffix would eat a dot in the stem.
    png, pdf, table = (Path(options.output + end) for end in (".png", ".pdf", ".csv"))
    try:
        traces = simulate_traces(make_network, sizes, options, keys[:3])
        table.parent.mkdir(parents=True, exist_ok=True)
        file = table.open("w", newline="")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    with file:
        study = run_study(make_network, sizes, options, keys[3], file)
    # A weight matrix joins two layers, whatever the depth of the rest.
    pictured = relay(options.latents, 2, max(64, 4 * options.latents), keys[0])
    with mpl.rc_context(STYLE):
        figure = draw(traces, pictured, study, options.fit_from)
        for path in (png, pdf):
            figure.savefig(path, dpi=200)
    print_table(study, options.fit_from)
    print(f"wrote {png}, {pdf}, {table}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Draws how spiking networks converge to rate networks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def add(name, kind, default, text):
        parser.add_argument(name, type=kind, default=default, metavar="X", help=text)

    count, seconds = number(int, 1, 2**30), number(float, 0, 1000)
    add("--latents", count, 10, "number p of latent signals")
    add("--depth", count, 3, "layers of neurons")
    add(
        "--dt",
        number(float, 0.04, 2),
        0.5,
        "time step in ms; divides the dead time, 2 ms",
    )
    add("--duration", number(float, 0.01, 1000), 1.0, "time after the burn-in in s")
    add("--burn-in", seconds, 0.2, "time at the start that is left out in s")
    add("--min-size", count, 64, "smallest number N of neurons per layer")
    add("--max-size", count, 16384, "largest N; sizes double from the smallest on")
    add(
        "--trials", count, 3, "trials at the largest N, in proportion more at smaller N"
    )
    add("--fit-from", count, 1024, "smallest N in the fit of the slope")
    add("--seed", number(int, 0, 2**32 - 1), 0, "seed of weights, input and spikes")
    add("--output", str, "figure1", "path of the files without .png, .pdf and .csv")
    small = ", ".join(f"{k.replace('_', '-')} {v}" for k, v in QUICK.items())
    text = f"a small run of about a minute, with other defaults: {small}"
    parser.add_argument("--quick", action="store_true", help=text)
    return parser


def number(kind: type[int] | type[float], low: float, high: float) -> Callable:
    """A type for argparse: a number within bounds."""

    def parse(text: str) -> int | float:
        value = kind(text)
        if not low <= value <= high:  # nan too
            raise argparse.ArgumentTypeError(
                f"must be from {low} to {high}, got {text}"
            )
        return value

    parse.__name__ = kind.__name__  # argparse's word for it when the text is no number
    return parse


# Simulations


def relay(latents: int, depth: int, size: int, key: jax.Array) -> rl.Network:
    return rl.relay_network(
        rl.SRM0(), num_neurons=size, num_latents=latents, depth=depth, key=key
    )


def time_grid(options: argparse.Namespace, longest: float) -> tuple[rl.TimeGrid, int]:
    """The grid, and how many of its steps are burn-in."""
    dt = options.dt * 1e-3
    burn_in = round(options.burn_in / dt)
    return rl.TimeGrid(
        dt, burn_in + round(min(options.duration, longest) / dt)
    ), burn_in


def simulate_traces(
    make_network: Callable[[int, jax.Array], rl.Network],
    sizes: Sequence[int],
    options: argparse.Namespace,
    keys: jax.Array,
) -> Traces:
    grid, burn_in = time_grid(options, longest=0.3)
    small = max((size for size in sizes[:-1] if size <= 256), default=sizes[0])
    # In larger ones the eye sees no further difference.
    large = max((size for size in sizes[1:] if size <= 4096), default=sizes[1])
    tau_m = float(make_network(small, keys[0]).output_tau_m)
    drive = rl.WienerDrive(options.latents, tau_m=tau_m, key=keys[1])
    increments = np.asarray(drive.increments(grid))

    def run(size: int, dynamics: rl.AbstractDynamics) -> rl.Trajectory:
        record = {0: range(min(4, size))}
        network = make_network(size, keys[0])
        return rl.simulate(network, drive, grid, dynamics, key=keys[2], record=record)

    dynamics = (rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate())
    runs = {size: [run(size, each) for each in dynamics] for size in (small, large)}
    decay = math.exp(-grid.dt / tau_m)
    return Traces(
        start=burn_in * grid.dt,
        times=grid.times[1:],
        latents=np.asarray(
            lfilter([(1 - decay) / grid.dt], [1, -decay], increments, axis=0)
        ),
        recording=runs[small][0].recordings[0],
        outputs={size: [np.asarray(r.outputs) for r in runs[size]] for size in runs},
    )


def run_study(
    make_network: Callable[[int, jax.Array], rl.Network],
    sizes: Sequence[int],
    options: argparse.Namespace,
    key: jax.Array,
    file: TextIO,
) -> rl.Convergence:
    writer = csv.writer(file)
    writer.writerow(
        ["size", "trial", "error_generalised", "error_conventional", "rate_hz"]
    )

    def save(cell: rl.Cell) -> None:
        trials = zip(cell.generalised, cell.conventional, cell.rates, strict=True)
        for trial, values in enumerate(trials, start=cell.first_trial):
            writer.writerow([cell.size, trial, *(f"{value:.8g}" for value in values)])
        file.flush()  # an interrupted run keeps what is finished

    grid, burn_in = time_grid(options, longest=math.inf)
    # disable=None: no bar where nobody watches.
    progress = functools.partial(tqdm, desc="convergence", unit="cell", disable=None)
    return rl.convergence(
        make_network,
        sizes,
        grid,
        trials=options.trials,
        key=key,
        burn_in=burn_in,
        progress=progress,
        on_cell=save,
    )


def print_table(study: rl.Convergence, fit_from: int) -> None:
    print("    N  trials  error to generalised  error to conventional  mean rate (Hz)")
    curves = (study.generalised, study.conventional, study.rates)
    trials = [len(rates) for rates in study.rates.errors]
    means = zip(study.sizes, trials, *(curve.mean() for curve in curves), strict=True)
    for size, count, generalised, conventional, rate in means:
        print(
            f"{size:5}  {count:6}  {generalised:20.4f}  {conventional:21.4f}  {rate:14.1f}"
        )
    print(
        f"slope of the error to the generalised rate:  {slope(study.generalised, fit_from)}"
    )
    print(
        f"slope of the error to the conventional rate: {slope(study.conventional, fit_from)}"
    )


def slope(curve: rl.ErrorCurve, fit_from: int) -> str:
    fit = curve.slope(fit_from)
    return f"{fit.value:.2f} [{fit.lower:.2f}, {fit.upper:.2f}]"


# The figure


def draw(
    traces: Traces, pictured: rl.Network, study: rl.Convergence, fit_from: int
) -> Figure:
    figure = Figure(figsize=(11, 7), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.25])
    widths = [1.45, 1.8, 1.3, 0.9]
    ax_a, ax_b, ax_c, ax_rank = top.subplots(1, 4, width_ratios=widths)
    ax_d, ax_e, ax_f = bottom.subplot_mosaic("DF;EF", width_ratios=[1.2, 1]).values()
    ax_d.sharex(ax_e)
    ax_d.sharey(ax_e)
    small, large = traces.outputs
    draw_mixing(ax_a, traces)
    draw_schematic(ax_b)
    draw_weights(ax_c, pictured)
    draw_singular_values(ax_rank, pictured)
    draw_outputs(ax_d, traces, small)
    draw_outputs(ax_e, traces, large)
    draw_errors(ax_f, study, fit_from)
    ax_d.tick_params(labelbottom=False)
    ax_d.legend(loc="lower right", bbox_to_anchor=(1, 0.97), ncols=3, handlelength=1.5)
    ax_e.set_xlabel("time (ms)")
    for ax, letter, title in (
        (ax_a, "A", "Neurons mix the latents"),
        (ax_b, "B", "Decode, then re-encode"),
        (ax_c, "C", "Weights of rank $p$"),
        (ax_d, "D", f"Output, $N$ = {small}"),
        (ax_e, "E", f"Output, $N$ = {large}"),
        (ax_f, "F", "Spiking networks approach the generalised rate only"),
    ):
        ax.set_title(rf"$\bf{{{letter}}}$  {title}", loc="left", fontsize=9.5)
    return figure


def draw_mixing(ax: Axes, traces: Traces) -> None:
    shown = (traces.times > traces.start) & (traces.times <= traces.start + 0.2)
    times = 1e3 * traces.times[shown]
    latents = traces.latents[shown, :3]
    potentials = np.asarray(traces.recording.potential)[shown]
    fired = np.asarray(traces.recording.activity)[shown] > 0
    signals = [*latents.T, *potentials.T]
    for row, signal in enumerate(signals):
        neuron = row - latents.shape[1]
        color, name = ("black", "h") if neuron >= 0 else (LATENT, "x")
        height = -5 * row - 3 * (neuron >= 0)
        trace = signal - signal.mean() + height
        ax.plot(times, trace, color=color, linewidth=1)
        name = f"${name}_{neuron + 1 if neuron >= 0 else row + 1}$"
        ax.text(times[0] - 4, height, name, color=color, ha="right", va="center")
        if neuron >= 0:  # a spike stands on the potential it came from
            at, foot = times[fired[:, neuron]], trace[fired[:, neuron]]
            ax.vlines(at, foot, foot + 2.3, color=SPIKING, linewidth=1.8)
        if neuron in (-latents.shape[1], 0):
            unit = "widths" if neuron == 0 else "s.d."
            ax.plot([times[-1] + 4] * 2, [height - 1.5, height + 1.5], color=color)
            ax.text(times[-1] + 8, height, f"3 {unit}", color=color, va="center")
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    ax.set_xlabel("time (ms)")


def draw_schematic(ax: Axes) -> None:
    ax.set_axis_off()
    places, heights = [0.0, 1.2, 2.4, 3.6, 5.3], [0.5, 1.0, 0.5, 1.0, 0.5]
    columns = [np.linspace(-h, h, 7 if h == 1 else 3) for h in heights]
    for column in range(4):
        ends = places[column : column + 2]
        for left in columns[column]:
            for right in columns[column + 1]:
                ax.plot(ends, [left, right], color="0.75", linewidth=0.5, zorder=1)
        name = ["encoder\n$E$", "decoder\n$D$"][column % 2]
        ax.text(np.mean(ends), 1.15, name, ha="center", va="bottom", size=8)
    names = [
        "$p$\nlatents",
        "$N$\nneurons",
        "$p$\nlatents",
        "$N$\nneurons",
        "$p$\noutputs",
    ]
    for column, (place, name) in enumerate(zip(places, names, strict=True)):
        color = "black" if column % 2 else LATENT
        heights = columns[column]
        ax.plot([place] * len(heights), heights, "o", color=color, markersize=6)
        ax.text(place, -1.2, name, ha="center", va="top", color=color)
    # The last decoder stands for the layers that follow.
    blank = {"facecolor": "white", "edgecolor": "none"}
    ax.text(
        np.mean(places[3:]),
        0,
        r"$\cdots$",
        ha="center",
        va="center",
        size=14,
        bbox=blank,
    )
    arrow = {"arrowstyle": "->", "connectionstyle": "arc3,rad=0.3"}
    ax.annotate("", (places[3], -2.0), (places[1], -2.0), arrowprops=arrow)
    ax.text(places[2], -2.75, r"$W = E\,D^{\mathrm{T}}/N$", ha="center", va="top")
    ax.set(xlim=(-0.5, 5.8), ylim=(-3.3, 2.0))


def draw_weights(ax: Axes, network: rl.Network) -> None:
    # A spike of neuron j makes the potential of neuron i jump by W_ij / tau_m.
    jumps = np.asarray(network.weights(0)) / float(network.output_tau_m)
    limit = np.abs(jumps).max()
    ends, size = (-0.5, len(jumps) - 0.5), len(jumps)
    image = ax.imshow(jumps, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    bar = ax.figure.colorbar(image, ax=ax)
    bar.set_label(r"$W_{ij}/\tau_m$ (escape widths)")
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
    names = ["spiking", "generalised rate", "conventional rate"]
    styles = zip(
        names, [SPIKING, GENERALISED, CONVENTIONAL], [2.4, 1.3, 1.3], strict=True
    )
    for outputs, (name, color, width) in zip(traces.outputs[size], styles, strict=True):
        trace, times = outputs[shown, OUTPUT], 1e3 * traces.times[shown]
        ax.plot(times, trace, color=color, linewidth=width, label=name)
    ax.margins(x=0.01)
    ax.set_ylabel(f"membrane $y_{OUTPUT + 1}$\n(s.d. of input)")


def draw_errors(ax: Axes, study: rl.Convergence, fit_from: int) -> None:
    sizes = np.array(study.sizes)
    fitted = sizes[sizes >= fit_from]
    for curve, name, color, marker in (
        (study.conventional, "conventional", CONVENTIONAL, "s"),
        (study.generalised, "generalised", GENERALISED, "o"),
    ):
        label = f"to {name} rate: slope {slope(curve, fit_from)}".replace("-", "−")
        ax.loglog(
            sizes, curve.mean(), color=color, marker=marker, markersize=5, label=label
        )
        # NaN, and no band, where there is one trial.
        lower, upper = curve.confidence_interval()
        ax.fill_between(sizes, lower, upper, color=color, alpha=0.25, linewidth=0)
    means = np.concatenate([study.generalised.mean(), study.conventional.mean()])
    guide = (
        0.75 * study.generalised.mean()[sizes == fitted[0]] * np.sqrt(fitted[0] / sizes)
    )
    ax.loglog(sizes, guide, "--", color="black", linewidth=1, label="slope −1/2")
    # Room for the legend below the data.
    ax.set_ylim(means.min() / 4, means.max() * 1.4)
    ax.set_xticks(sizes, [f"{size}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel="neurons per layer $N$")
    ax.set_ylabel(r"mean $|y_{\mathrm{spiking}} - y_{\mathrm{rate}}|$ (s.d. of input)")
    legend = f"slopes from $N$ = {fitted[0]} on, with 95% intervals"
    ax.legend(loc="lower left", title=legend, alignment="left")


if __name__ == "__main__":
    main()
