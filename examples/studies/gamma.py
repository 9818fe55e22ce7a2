"""Excitatory and inhibitory neurons that oscillate together, and the limit of that.

Four fifths of the neurons excite, one fifth inhibits, as real neurons by Dale's law. What
excites makes inhibition follow, which silences both until its synapses have decayed: gamma
oscillations, of some 40 Hz (Whittington et al. 2000; Brunel and Wang 2003):

    python examples/studies/gamma.py            # N = 500, 2000 and 8000
    python examples/studies/gamma.py --quick    # N = 100, 400 and 1600, for a first look

A-C  mean rate of the excitatory neurons, spiking and as its generalised rate, for each N
D    spikes of some neurons of the largest network, by population
E    distance of amplitude and frequency between both, against N, with 95% intervals
F    by how much their phases differ, against time

Both networks begin at rest, and so in phase. Fluctuations of finite networks shift the
phase, which nothing restores: the larger the network, the longer it keeps step with the
limit. Amplitude and frequency are those of the limit ever after, but for N^(-1/2).

Writes gamma.png, gamma.pdf and gamma.csv (a row for each trial).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import _script
import jax
import numpy as np
from matplotlib.axes import Axes

import ratelike as rl

QUICK = dict(min_size=100, trials=4)

GRID = rl.TimeGrid(0.5e-3, 2400)
EDGE = 200  # steps
BAND = (25.0, 70.0)  # Hz
BIN = 2e-3  # s, of what is drawn
SHOWN = (0, 400)  # ms
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


# Of spiking and generalised networks of each size.
Runs = dict[int, tuple[rl.Trajectory, rl.Trajectory]]
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
    size: int, key: jax.Array, is_shown: bool = False
) -> tuple[rl.Trajectory, rl.Trajectory]:
    """A network spiking, and as its generalised rate."""
    network_key, spike_key = jax.random.split(key)
    network, record = gamma_network(size, network_key), None
    if is_shown:
        populations = network.layers[0].populations
        few = [populations[name][:number] for name, number in RASTER_NEURONS.items()]
        record = {0: [neuron for each in few for neuron in each]}
    spiking = rl.simulate(
        network, None, GRID, rl.Spiking(), key=spike_key, record=record
    )
    return spiking, rl.simulate(network, None, GRID, rl.GeneralisedRate())


def run_study(sizes: list[int], trials: int, key: jax.Array) -> Study:
    def rhythms(size: int, trial: int) -> tuple[Rhythm, Rhythm]:
        own = jax.random.fold_in(jax.random.fold_in(key, size), trial)
        spiking, generalised = run(size, own)
        return rhythm(spiking), rhythm(generalised)

    return {size: [rhythms(size, trial) for trial in range(trials)] for size in sizes}


def main(arguments: Sequence[str] | None = None) -> None:
    options = _script.options(
        "Draws how an oscillating spiking network approaches its rate network.",
        arguments,
        output="gamma",
        quick=QUICK,
        min_size=(
            _script.number(int, 50, 2**24),
            500,
            "smallest number N of neurons; the others are 4 and 16 times as many",
        ),
        trials=(_script.count, 12, "networks of each size"),
    )
    sizes = [options.min_size * 4**k for k in range(3)]
    keys = jax.random.split(jax.random.key(options.seed))
    study = run_study(sizes, options.trials, keys[0])
    write_table(options, study)
    runs = {size: run(size, keys[1], size == sizes[-1]) for size in sizes}
    titles = {
        "A": f"$N$ = {sizes[0]}: fluctuations shift the phase",
        "B": f"$N$ = {sizes[1]}",
        "C": f"$N$ = {sizes[2]}: in step with the limit for longer",
        "D": f"Excitation, then inhibition ($N$ = {sizes[2]})",
        "E": "How far amplitude and frequency are from the limit",
        "F": "Larger networks keep in phase with it for longer",
    }
    layout = dict(width_ratios=[1.6, 1])
    with _script.picture(options, "AD;BE;CF", titles, (11, 7.5), **layout) as axes:
        for letter, size in zip("ABC", sizes, strict=True):
            draw_rates(axes[letter], runs[size], top(runs), with_legend=letter == "A")
        for letter in "AB":
            axes[letter].set(xlabel="")
        rl.plot.raster(runs[sizes[-1]][0], 0, ax=axes["D"])
        axes["D"].set(xlim=(SHOWN[1] - 200, SHOWN[1]), ylabel="neurons")
        draw_distances(axes["E"], study)
        draw_phases(axes["F"], study)


def write_table(options, study: Study) -> None:
    """And prints their means."""
    names = [f"{what}_{of}" for of in ("spiking", "generalised") for what in ("amplitude_hz", "frequency_hz")]  # fmt: skip
    rows = [
        [size, trial, *(x for each in both for x in (each.amplitude, each.frequency))]
        for size, trials in study.items()
        for trial, both in enumerate(trials)
    ]
    _script.write_table(options, ["size", "trial", *names], rows)
    print(f"{'N':>7}", *(f"{name:>24}" for name in names))
    for size in study:
        means = np.mean([row[2:] for row in rows if row[0] == size], axis=0)
        print(f"{size:7}", *(f"{mean:24.1f}" for mean in means))


# The figure


def top(runs: Runs) -> float:
    """Above all peaks but that of the beginning, where all neurons have never fired."""
    width = round(BIN / GRID.dt)
    rates = [np.asarray(both[0].population_rates[0]["exc"]) for both in runs.values()]
    later = [rate[40 * width : 200 * width].reshape(-1, width) for rate in rates]
    return 1.1 * max(float(rate.mean(axis=1).max()) for rate in later)


def draw_rates(
    ax: Axes,
    both: tuple[rl.Trajectory, rl.Trajectory],
    top: float,
    *,
    with_legend: bool,
) -> None:
    named: dict[str, rl.Trajectory] = {"spiking": both[0], "generalised rate": both[1]}
    rl.plot.rates(named, populations=["exc"], bin=BIN, ax=ax)
    ax.set(ylabel="excitatory rate (Hz)", xlim=SHOWN, ylim=(0, top))
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2}
    ax.legend(**place).set_visible(with_legend)


def draw_distances(ax: Axes, study: Study) -> None:
    """Mean distances of amplitude and frequency, in percent of the limit."""

    def percent(what: str) -> rl.study.SizeCurve:
        pairs = [
            np.array([[getattr(each, what) for each in both] for both in trials])
            for trials in study.values()
        ]
        apart = [100.0 * np.abs(pair[:, 0] / pair[:, 1] - 1.0) for pair in pairs]
        return rl.study.SizeCurve(list(study), apart)

    curves = {f"of the {what}": percent(what) for what in ("amplitude", "frequency")}
    rl.plot.convergence(curves, ax=ax)
    ax.set(xlabel="neurons $N$", ylabel="distance (%)")


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
