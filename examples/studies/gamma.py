"""Excitatory and inhibitory neurons that oscillate together, and the limit of that.

Four fifths of the neurons excite, one fifth inhibits, as real neurons by Dale's law. What
excites makes inhibition follow, which silences both until its synapses have decayed: gamma
oscillations, of some 40 Hz (Whittington et al. 2000; Brunel and Wang 2003):

    python examples/studies/gamma.py            # N = 500, 2000 and 8000
    python examples/studies/gamma.py --quick    # N = 100, 400 and 1600, for a first look

A-C  mean rate of the excitatory neurons, spiking and as its generalised rate, for each N
D    spikes of some neurons of the largest network, by population
E    distance of amplitude and frequency between both, against N
F    by how much their phases differ, against time

Both networks begin at rest, and so in phase. Fluctuations of finite networks shift the
phase, which nothing restores: the larger the network, the longer it keeps step with the
limit. Amplitude and frequency are those of the limit ever after, but for N^(-1/2).

Writes gamma.png, gamma.pdf and gamma.csv (a row for each trial, as it finishes).
"""

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

import _script
import jax
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

import ratelike as rl

QUICK = dict(min_size=100, trials=4)

GRID = rl.TimeGrid(0.5e-3, 2400)
EDGE = 200  # steps
BAND = (25.0, 70.0)  # Hz
BIN = 2e-3  # s, of what is drawn
LONGEST_SHOWN = 400.0  # ms
RASTER_NEURONS = {"exc": 64, "inh": 16}


# The model


def gamma_network(num_neurons: int, key: jax.Array) -> rl.Network:
    """No two neurons are alike: biases differ, and the weights by up to 30%."""
    kernel = rl.ExponentialRefractory(5.0, tau=10e-3, dead_time=2e-3, memory=50e-3)
    numbers = {"exc": num_neurons * 4 // 5, "inh": num_neurons - num_neurons * 4 // 5}
    keys = iter(jax.random.split(key, 6))

    def neurons(name: str, tau_m: float, bias: float, sign: int) -> rl.Neurons:
        neuron = rl.SRM0(tau_m, rl.ExponentialEscape(rate=10.0), kernel)
        spread = 0.3 * jax.random.normal(next(keys), (numbers[name],))
        return rl.Neurons(neuron, numbers[name], bias + spread, sign)

    def connection(source: str, target: str, weight: float) -> rl.Connection:
        uniform = jax.random.uniform(next(keys), (numbers[target], 1))
        encoder = weight * (0.7 + 0.6 * uniform)
        decay = rl.ExponentialSynapse(2e-3 if source == "exc" else 3e-3)
        # A mean rate of 10 Hz in the source moves the potential by the weight.
        return rl.Connection(source, target, encoder, 0.1, delay=1e-3, synapse=decay)

    layer = rl.population_layer(
        {"exc": neurons("exc", 10e-3, 4.3, +1), "inh": neurons("inh", 5e-3, -1.0, -1)},
        [
            connection("exc", "exc", 0.5),
            connection("exc", "inh", 3.0),
            connection("inh", "exc", -3.0),
            connection("inh", "inh", -2.5),
        ],
    )
    return rl.Network([layer])


# Simulations


@dataclass
class Rhythm:
    """The oscillation of the excitatory mean rate."""

    amplitude: float  # Hz, its mean over time
    frequency: float  # Hz
    signal: np.ndarray  # the analytic signal, with amplitude and phase of each step


# Spiking and generalised networks of each size.
Study = dict[int, list[tuple[Rhythm, Rhythm]]]


def rhythm(trajectory: rl.Trajectory) -> Rhythm:
    """Of the rate within the band, without the ends, where the filter sees the other one."""
    rate = np.asarray(trajectory.population_rates[0]["exc"], float)[EDGE:]
    frequencies = np.fft.fftfreq(len(rate), GRID.dt)
    within = (frequencies >= BAND[0]) & (frequencies <= BAND[1])
    signal = np.fft.ifft(np.where(within, 2.0 * np.fft.fft(rate), 0.0))[EDGE:-EDGE]
    cycles = np.unwrap(np.angle(signal)) / (2.0 * np.pi)
    times = np.arange(len(signal)) * GRID.dt
    return Rhythm(np.abs(signal).mean(), np.polyfit(times, cycles, 1)[0], signal)


def run(
    size: int, key: jax.Array, shown: dict[str, int] | None = None
) -> tuple[rl.Trajectory, rl.Trajectory]:
    """A network spiking, and as its generalised rate."""
    network_key, spike_key = jax.random.split(key)
    network = gamma_network(size, network_key)
    populations, record = network.layers[0].populations, None
    if shown is not None:
        few = [populations[name][:number] for name, number in shown.items()]
        record = {0: [neuron for each in few for neuron in each]}
    spiking = rl.simulate(
        network, None, GRID, rl.Spiking(), key=spike_key, record=record
    )
    return spiking, rl.simulate(network, None, GRID, rl.GeneralisedRate())


def run_study(sizes: list[int], trials: int, key: jax.Array, file: TextIO) -> Study:
    """Rhythms of spiking and generalised networks, for each size."""
    writer = csv.writer(file)
    columns = [f"{what}_{of}" for of in ("spiking", "generalised") for what in ("amplitude_hz", "frequency_hz")]  # fmt: skip
    writer.writerow(["size", "trial", *columns])
    study: Study = {size: [] for size in sizes}
    for size in sizes:
        for trial in range(trials):
            own = jax.random.fold_in(jax.random.fold_in(key, size), trial)
            spiking, generalised = run(size, own)
            both = (rhythm(spiking), rhythm(generalised))
            study[size].append(both)
            values = [
                f"{x:.6g}" for each in both for x in (each.amplitude, each.frequency)
            ]
            writer.writerow([size, trial, *values])
            file.flush()  # an interrupted run keeps what is finished
    return study


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    parser = make_parser()
    options = _script.parse(parser, arguments, output="gamma", quick=QUICK)
    sizes = [options.min_size * 4**k for k in range(3)]
    keys = jax.random.split(jax.random.key(options.seed))
    try:
        png, pdf, table = _script.files(options)
        file = table.open("w", newline="")
    except OSError as error:
        parser.error(str(error))
    with file:
        study = run_study(sizes, options.trials, keys[0], file)
    recorded = [None, None, RASTER_NEURONS]
    runs = {
        size: run(size, keys[1], each)
        for size, each in zip(sizes, recorded, strict=True)
    }
    with mpl.rc_context(_script.STYLE):
        figure = draw(runs, study)
        figure.savefig(png, dpi=200)
        figure.savefig(pdf)
    print_table(study)
    print(f"wrote {png}, {pdf}, {table}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


def make_parser() -> argparse.ArgumentParser:
    parser = _script.make_parser(
        "Draws how an oscillating spiking network approaches its rate network."
    )
    count = _script.number(int, 50, 2**24)
    text = "smallest number N of neurons; the others are 4 and 16 times as many"
    parser.add_argument("--min-size", type=count, default=500, metavar="N", help=text)
    text = "networks of each size"
    parser.add_argument("--trials", type=_script.count, default=12, help=text)
    return parser


def print_table(study: Study) -> None:
    print("    N  amplitude, spiking  generalised (Hz)  frequency, spiking  generalised (Hz)")  # fmt: skip
    for size, trials in study.items():
        means = [
            np.mean([getattr(both[of], what) for both in trials])
            for what in ("amplitude", "frequency")
            for of in (0, 1)
        ]
        print(
            f"{size:5}  {means[0]:18.1f}  {means[1]:16.1f}  {means[2]:18.1f}  {means[3]:16.1f}"
        )


# The figure


def draw(
    runs: dict[int, tuple[rl.Trajectory, rl.Trajectory]],
    study: Study,
) -> Figure:
    figure = Figure(figsize=(11, 7.5))
    figure.set_layout_engine("constrained", w_pad=0.07)
    axes = figure.subplot_mosaic("AD;BE;CF", width_ratios=[1.6, 1])
    for letter, both in zip("ABC", runs.values(), strict=True):
        draw_rates(axes[letter], both, with_legend=letter == "A")
        axes[letter].set(xlim=(0, LONGEST_SHOWN), ylim=(0, top(runs)))
        if letter != "C":
            axes[letter].set(xlabel="")
    largest = max(runs)
    rl.plot.raster(runs[largest][0], 0, ax=axes["D"])
    axes["D"].set(xlim=(LONGEST_SHOWN - 200, LONGEST_SHOWN), ylabel="neurons")
    draw_distances(axes["E"], study)
    draw_phases(axes["F"], study)
    sizes = list(runs)
    titles = {
        "A": f"$N$ = {sizes[0]}: fluctuations shift the phase",
        "B": f"$N$ = {sizes[1]}",
        "C": f"$N$ = {sizes[2]}: in step with the limit for longer",
        "D": f"Excitation, then inhibition ($N$ = {largest})",
        "E": "How far amplitude and frequency are from the limit",
        "F": "Larger networks keep in phase with it for longer",
    }
    _script.name_panels(axes, titles)
    return figure


def top(runs: dict[int, tuple[rl.Trajectory, rl.Trajectory]]) -> float:
    """Above all peaks but that of the beginning, where all neurons have never fired."""
    width = round(BIN / GRID.dt)
    rates = [np.asarray(both[0].population_rates[0]["exc"]) for both in runs.values()]
    later = [rate[40 * width : 200 * width].reshape(-1, width) for rate in rates]
    return 1.1 * max(float(rate.mean(axis=1).max()) for rate in later)


def draw_rates(
    ax: Axes, both: tuple[rl.Trajectory, rl.Trajectory], *, with_legend: bool
) -> None:
    named: dict[str, rl.Trajectory] = {"spiking": both[0], "generalised rate": both[1]}
    rl.plot.rates(named, populations=["exc"], bin=BIN, ax=ax)
    ax.set_ylabel("excitatory rate (Hz)")
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2}
    ax.legend(**place).set_visible(with_legend)


def draw_distances(ax: Axes, study: Study) -> None:
    """Mean distances of amplitude and frequency, in percent of the limit, with each trial."""
    sizes = np.array(list(study))
    for what, color, shift in (("amplitude", "#009E73", 0.97), ("frequency", "#CC79A7", 1.03)):  # fmt: skip
        pairs = np.array(
            [[[getattr(each, what) for each in both] for both in trials] for trials in study.values()]
        )  # fmt: skip
        percent = 100.0 * np.abs(pairs[..., 0] / pairs[..., 1] - 1.0)
        for trial in percent.T:
            ax.plot(shift * sizes, trial, "o", color=color, markersize=3, alpha=0.4)
        means = percent.mean(axis=1)
        ax.loglog(
            shift * sizes, means, "o-", color=color, markersize=6, label=f"of the {what}"
        )  # fmt: skip
    guide = 1.5 * means[0] * (sizes / sizes[0]) ** -0.5
    ax.plot(sizes, guide, "--", color="black", linewidth=1, label="slope −1/2")
    ax.set_xticks(sizes, [f"{size}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
    ax.set(xlabel="neurons $N$", ylabel="distance (%)")
    ax.legend(loc="lower left")


def draw_phases(ax: Axes, study: Study) -> None:
    """Root mean square of the phase by which both networks differ, over trials."""
    shades = ("0.7", "0.45", "black")
    times = 1e3 * GRID.times[1:][2 * EDGE : -EDGE]
    for (size, trials), color in zip(study.items(), shades, strict=True):
        turns = np.array([a.signal * np.conj(b.signal) for a, b in trials])
        shifts = np.unwrap(np.angle(turns), axis=1) / (2.0 * np.pi)
        spread = np.sqrt(np.mean(shifts**2, axis=0))
        ax.plot(times, spread, color=color, label=f"$N$ = {size}")
    ax.set(xlabel="time (ms)", ylabel="phase shift (cycles)", xlim=(0, times[-1]))
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])
    ax.legend(loc="upper left", ncols=3, handlelength=1.2, columnspacing=1.2)


if __name__ == "__main__":
    main()
