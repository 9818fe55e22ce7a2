"""Excitatory and inhibitory neurons that oscillate together, and the limit of that.

Four fifths of the neurons excite, one fifth inhibits, as real neurons by Dale's law. What
excites makes inhibition follow, which silences both until its synapses have decayed: gamma
oscillations, of some 40 Hz (Whittington et al. 2000; Brunel and Wang 2003):

    python examples/gamma.py            # N = 500, 2000 and 8000
    python examples/gamma.py --quick    # N = 100, 400 and 1600, for a first look

A-C  mean rate of the excitatory neurons, spiking and as its generalised rate, for each N
D    spikes of some neurons of the largest network, by population
E    amplitude of the oscillation against N
F    its frequency

Both networks begin at rest, and so in phase. Fluctuations of finite networks shift the
phase, which nothing restores: the larger the network, the longer it keeps step with the
limit. Amplitude and frequency are those of the limit for long.

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
BURN_IN = 400  # steps
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
    """The oscillation of one dynamics: amplitude of the excitatory mean rate in Hz, and frequency in Hz."""

    amplitude: float
    frequency: float


def rhythm(trajectory: rl.Trajectory) -> Rhythm:
    """Of the power within the band: its square root, and its mean frequency."""
    rate = np.asarray(trajectory.population_rates[0]["exc"], float)[BURN_IN:]
    power = 2.0 * np.abs(np.fft.rfft(rate) / len(rate)) ** 2
    frequencies = np.fft.rfftfreq(len(rate), GRID.dt)
    within = (frequencies >= BAND[0]) & (frequencies <= BAND[1])
    power, frequencies = power[within], frequencies[within]
    total = power.sum()
    return Rhythm(
        float(np.sqrt(2.0 * total)), float(np.sum(power * frequencies) / total)
    )


def run(
    size: int, key: jax.Array, shown: dict[str, int] | None = None
) -> tuple[rl.Trajectory, rl.Trajectory]:
    """A network spiking, and as its generalised rate."""
    network_key, spike_key = jax.random.split(key)
    network = gamma_network(size, network_key)
    populations = network.layers[0].populations
    record = {
        0: [
            neuron
            for name, number in (shown or {}).items()
            for neuron in populations[name][:number]
        ]
    }
    record = record if shown else None
    spiking = rl.simulate(
        network, None, GRID, rl.Spiking(), key=spike_key, record=record
    )
    return spiking, rl.simulate(network, None, GRID, rl.GeneralisedRate())


def run_study(
    sizes: list[int], trials: int, key: jax.Array, file: TextIO
) -> dict[int, list[tuple[Rhythm, Rhythm]]]:
    """Rhythms of spiking and generalised networks, for each size."""
    writer = csv.writer(file)
    columns = [f"{what}_{of}" for of in ("spiking", "generalised") for what in ("amplitude_hz", "frequency_hz")]  # fmt: skip
    writer.writerow(["size", "trial", *columns])
    study = {size: [] for size in sizes}
    for size in sizes:
        for trial in range(trials):
            own = jax.random.fold_in(jax.random.fold_in(key, size), trial)
            both = tuple(rhythm(each) for each in run(size, own))
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
    parser.add_argument("--trials", type=_script.count, default=6, help=text)
    return parser


def print_table(study: dict[int, list[tuple[Rhythm, Rhythm]]]) -> None:
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
    study: dict[int, list[tuple[Rhythm, Rhythm]]],
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
    draw_measure(axes["E"], study, "amplitude", "amplitude (Hz)")
    draw_measure(axes["F"], study, "frequency", "frequency (Hz)")
    sizes = list(runs)
    titles = {
        "A": f"$N$ = {sizes[0]}: fluctuations shift the phase",
        "B": f"$N$ = {sizes[1]}",
        "C": f"$N$ = {sizes[2]}: in step with the limit for longer",
        "D": f"Excitation, then inhibition ($N$ = {largest})",
        "E": "The amplitude approaches that of the limit",
        "F": "So does the frequency",
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
    spiking, rate = both
    named: dict[str, rl.Trajectory] = {"spiking": spiking, "generalised rate": rate}
    rl.plot.rates(named, populations=["exc"], bin=BIN, ax=ax)
    ax.set_ylabel("excitatory rate (Hz)")
    if (legend := ax.get_legend()) is not None:
        legend.remove()
    if with_legend:
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)


def draw_measure(
    ax: Axes, study: dict[int, list[tuple[Rhythm, Rhythm]]], what: str, label: str
) -> None:
    """Every trial, and means: spiking over its generalised rate."""
    sizes = np.array(list(study))
    colors = (rl.plot.COLORS["spiking"], rl.plot.COLORS["generalised"])
    for of, (color, name) in enumerate(
        zip(colors, ("spiking", "generalised rate"), strict=True)
    ):
        values = np.array(
            [[getattr(both[of], what) for both in each] for each in study.values()]
        )
        shift = 1.06 ** (of - 0.5)  # side by side
        for trial in values.T:
            ax.plot(shift * sizes, trial, "o", color=color, markersize=3, alpha=0.5)
        ax.plot(
            shift * sizes, values.mean(axis=1), "o-", color=color, markersize=6, label=name
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{size}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
    ax.margins(y=0.15)
    ax.set(xlabel="neurons $N$", ylabel=label)
    if what == "amplitude":
        ax.legend(loc="best")


if __name__ == "__main__":
    main()
