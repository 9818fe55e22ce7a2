"""Excitatory and inhibitory neurons that oscillate together, and the limit of that.

Four fifths of the neurons excite, one fifth inhibits, as real neurons by Dale's law. What
excites makes inhibition follow, which silences both until its synapses have decayed: gamma
oscillations, of some 40 Hz (Whittington et al. 2000; Brunel and Wang 2003):

    python examples/studies/gamma.py            # N = 500, 2000 and 8000
    python examples/studies/gamma.py --quick    # N = 100, 400 and 1600, for a first look

Spiking and rate network begin at rest, and so in phase. Fluctuations of finite networks shift
the phase, which nothing restores. Amplitude and frequency stay those of the limit, but for
N^(-1/2). Writes gamma.png, gamma.pdf and gamma.csv (a row for each trial).
"""

import _script
import jax
import numpy as np

import ratelike as rl

GRID = rl.TimeGrid(0.5e-3, 2400)
EDGE = 200  # steps

# Membrane time constant, mean bias, sign, and decay of the synapses that the spikes reach.
POPULATIONS = {"exc": (10e-3, 4.3, +1, 2e-3), "inh": (5e-3, -1.0, -1, 3e-3)}
# By source and target: by how much a mean rate of 10 Hz moves the potential.
WEIGHTS = {
    ("exc", "exc"): 0.5,
    ("exc", "inh"): 3.0,
    ("inh", "exc"): -3.0,
    ("inh", "inh"): -2.5,
}

options = _script.options(
    "Draws how an oscillating spiking network approaches its rate network.",
    None,
    output="gamma",
    quick=dict(min_size=100, trials=4),
    min_size=(_script.number(int, 50, 2**24), 500, "number N, then 4 N and 16 N"),
    trials=(_script.count, 12, "networks of each size"),
)
sizes = [options.min_size * 4**k for k in range(3)]


def gamma_network(num_neurons: int, key: jax.Array) -> rl.Network:
    """No two neurons are alike: biases differ, and the weights by up to 30%."""
    kernel = rl.ExponentialRefractory(5.0, tau=10e-3, dead_time=2e-3, memory=50e-3)
    numbers = {"exc": num_neurons * 4 // 5, "inh": num_neurons - num_neurons * 4 // 5}
    keys = iter(jax.random.split(key, 6))
    neurons, connections = {}, []
    for name, (tau_m, bias, sign, _) in POPULATIONS.items():
        neuron = rl.SRM0(tau_m, rl.ExponentialEscape(rate=10.0), kernel)
        spread = 0.3 * jax.random.normal(next(keys), (numbers[name],))
        neurons[name] = rl.Neurons(neuron, numbers[name], bias + spread, sign)
    for (source, target), weight in WEIGHTS.items():
        uniform = jax.random.uniform(next(keys), (numbers[target], 1))
        encoder = weight * (0.7 + 0.6 * uniform)
        decay = rl.ExponentialSynapse(POPULATIONS[source][-1])
        connections.append(
            rl.Connection(source, target, encoder, 0.1, delay=1e-3, synapse=decay)
        )
    return rl.Network([rl.population_layer(neurons, connections)])


def run(size: int, key: jax.Array) -> dict[str, rl.Trajectory]:
    network_key, spike_key = jax.random.split(key)
    network = gamma_network(size, network_key)
    populations = network.layers[0].populations
    shown = {0: rl.Spikes([*populations["exc"][:64], *populations["inh"][:16]])}
    given = network, None, GRID
    return {
        "spiking": rl.simulate(*given, rl.Spiking(), key=spike_key, record=shown),
        "generalised rate": rl.simulate(*given, rl.GeneralisedRate()),
    }


def analytic_signal(trajectory: rl.Trajectory) -> np.ndarray:
    """Amplitude and phase of the excitatory rate from 25 to 70 Hz, as a complex number.

    Without the ends, where the filter sees the other one.
    """
    rate = np.asarray(trajectory.population_rates[0]["exc"], float)[EDGE:]
    frequencies = np.fft.fftfreq(len(rate), GRID.dt)
    within = (frequencies >= 25.0) & (frequencies <= 70.0)
    return np.fft.ifft(np.where(within, 2.0 * np.fft.fft(rate), 0.0))[EDGE:-EDGE]


def amplitude_and_frequency(signal: np.ndarray) -> tuple[float, float]:
    """In Hz, the amplitude as its mean over time."""
    cycles = np.unwrap(np.angle(signal)) / (2.0 * np.pi)
    times = np.arange(len(signal)) * GRID.dt
    return np.abs(signal).mean(), np.polyfit(times, cycles, 1)[0]


keys = jax.random.split(jax.random.key(options.seed))
names = [
    f"{what}_hz_{kind}"
    for kind in ("spiking", "generalised")
    for what in ("amplitude", "frequency")
]
print(f"{'N':>7}", *(f"{name:>24}" for name in names))
rows, distances, phases = [], [], []  # the last two of each size: (trials, ...)
for size in sizes:
    key = jax.random.fold_in(keys[0], size)
    pairs = (run(size, jax.random.fold_in(key, k)) for k in range(options.trials))
    signals = np.array([[*map(analytic_signal, pair.values())] for pair in pairs])
    rhythms = np.apply_along_axis(amplitude_and_frequency, -1, signals)
    print(f"{size:7}", *(f"{mean:24.1f}" for mean in rhythms.mean(axis=0).flat))
    rows += [[size, trial, *values.flat] for trial, values in enumerate(rhythms)]
    distances.append(100.0 * abs(rhythms[:, 0] / rhythms[:, 1] - 1.0))
    turns = np.angle(signals[:, 0] * np.conj(signals[:, 1]))
    phases.append(np.unwrap(turns) / (2.0 * np.pi))
_script.write_table(options, ["size", "trial", *names], rows)

runs = [run(size, keys[1]) for size in sizes]
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
    for letter, both in zip("ABC", runs, strict=True):
        ax = rl.plot.rates(both, populations=["exc"], bin=2e-3, ax=axes[letter])
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
        ax.set(ylabel="excitatory rate (Hz)", xlim=(0, 400), ylim=(0, 120))
    rl.plot.raster(runs[-1]["spiking"], 0, ax=axes["D"]).set_xlim(200, 400)
    curves = {
        f"of the {what}": rl.study.SizeCurve(sizes, [each[:, k] for each in distances])
        for k, what in enumerate(("amplitude", "frequency"))
    }
    ax = rl.plot.convergence(curves, ax=axes["E"])
    ax.set(xlabel="neurons $N$", ylabel="distance (%)")
    times = 1e3 * GRID.times[1:][2 * EDGE : -EDGE]
    for size, shifts, color in zip(sizes, phases, ("0.7", "0.45", "0"), strict=True):
        spread = np.sqrt(np.mean(shifts**2, axis=0))
        axes["F"].plot(times, spread, color=color, label=f"$N$ = {size}")
    axes["F"].margins(y=0.35)  # for the legend
    axes["F"].set(xlabel="time (ms)", ylabel="phase shift, r.m.s. (cycles)", ylim=0)
    axes["F"].legend(loc="upper left", ncols=3)
