"""Neurons from recordings: the parameters of four neurons from their spikes, and a network of neurons like them.

    python examples/studies/fit_neuron.py            # 100 s of spikes, some two minutes
    python examples/studies/fit_neuron.py --quick    # 20 s of them

The spikes are those of Brian2's neurons, simulated in steps of 0.05 ms by benchmarks/peers/reference_brian2_trains.py; the
fit runs in steps of 1 ms. Threshold, width, membrane time constant and reset of each neuron are fitted by maximum likelihood.

A  fitted minus true parameters, in standard errors (bars: two standard errors)
B  rescaled intervals against the uniform distribution, for the fitted neurons and for neurons fitted without memory (linear-
   nonlinear-Poisson); within the dashed lines 95% of right models stay
C  a layer of 400 neurons like the fitted ones, on a new input: spikes, the generalised rate, and that of the true neurons
"""

from pathlib import Path

import _script
import jax
import jax.numpy as jnp
import numpy as np
import optax

import ratelike as rl

jax.config.update("jax_enable_x64", True)
options = _script.options(
    "Fits neurons to spikes of Brian2, and runs a network.",
    None,
    output="fit_neuron",
    quick=dict(duration=20.0),
    duration=(_script.seconds, 100.0, "length in s of the recording"),
)
key = jax.random.key(options.seed)
NAMES = ["threshold", "width", "tau_m", "v_reset"]

data = np.load(Path(__file__).with_name("fit_neuron_brian2.npz"))
grid = rl.TimeGrid(dt=1e-3, num_steps=round(options.duration / 1e-3))
samples = np.arange(round(options.duration / data["sample"])) * data["sample"]
waves = np.sin(2.0 * np.pi * np.outer(samples, data["frequencies"]) + data["phases"])
drive = rl.SignalDrive(
    0.7 + waves.sum(axis=1) / np.sqrt(20.0), dt=float(data["sample"])
)
times = (data["steps"] + 0.5) * data["dt"]
kept = times < options.duration
trains = [times[kept & (data["neurons"] == i)] for i in range(4)]


def neuron_of(parameters, dead_time):
    threshold, width, tau_m, v_reset = parameters
    escape = rl.ExponentialEscape(float(data["rate"]), threshold, width)
    return rl.LIF(tau_m, escape, v_reset, dead_time, float(data["memory"]))


def where(network):
    neuron = network.layers[0].neuron
    chosen = [
        rl.train.Positive([neuron.escape.width, neuron.tau_m]),
        rl.train.Unconstrained(neuron.escape.threshold),
    ]
    if isinstance(neuron, rl.LIF):
        chosen.append(rl.train.Unconstrained(neuron.v_reset))
    return chosen


def loss(network, key):
    return -jnp.sum(rl.log_likelihood(network.layers[0], drive, trains, grid))


def fitted(neuron):
    ones = jnp.ones((4, 1))
    start = rl.Network([rl.Layer(neuron, ones, ones)])
    optimiser = optax.lbfgs(memory_size=30)
    return rl.fit(start, loss, where=where, optimiser=optimiser, num_steps=80, key=key)


def parameters_of(network):
    neuron = network.layers[0].neuron
    return [neuron.escape.threshold, neuron.escape.width, neuron.tau_m, neuron.v_reset]


# From one guess for all neurons.
dead_time = float(data["dead_time"])
guess = neuron_of(
    jnp.ones((4, 4)) * jnp.array([[1.0], [1.0], [12e-3], [-2.0]]), dead_time
)
network, history = fitted(guess)
errors = rl.train.standard_errors(network, loss, where=where, key=key).network
memoryless = rl.SRM0(guess.tau_m, guess.escape, rl.NoRefractory())
poisson, poisson_history = fitted(memoryless)
estimate, error = (np.array(parameters_of(each)) for each in (network, errors))
true = np.array([data[name] for name in NAMES])
z = (estimate - true) / error
print(f"{sum(map(len, trains))} spikes, log-likelihood {-history[-1]:.1f} nats")
print(f"without memory: {-poisson_history[-1]:.1f} nats")
for name, *row in zip(NAMES, true, estimate, error, strict=True):
    print(
        f"{name:10}",
        *(f"{a:8.4g}: {b:.4g} +- {c:.2g}" for a, b, c in zip(*row, strict=True)),
    )
rows = np.column_stack([each.ravel() for each in (true, estimate, error)])
_script.write_table(options, ["true", "estimate", "standard_error"], rows)

# A network: 100 neurons like each, with encoders of their own.
encoder = jax.random.normal(key, (400, 2))
decoder = 0.02 * encoder
new = rl.OrnsteinUhlenbeckDrive(2, tau=50e-3, std=0.7, key=key)
short_grid = rl.TimeGrid(0.5e-3, 1000)


def run(parameters, dynamics):
    many = neuron_of(jnp.repeat(jnp.asarray(parameters), 100, axis=1), dead_time)
    layer = rl.Layer(many, encoder, decoder, bias=0.7)
    return rl.simulate(rl.Network([layer]), new, short_grid, dynamics, key=key)


rate, exact = (run(each, rl.GeneralisedRate()) for each in (estimate, true))
spiking = run(estimate, rl.Spiking())
titles = {"A": "Fitted parameters", "B": "Rescaled intervals", "C": "Network"}
with _script.picture(options, "ABC", titles, (11, 3.3)) as axes:
    for i, marker in enumerate("osD^"):
        places = np.arange(4) + 0.12 * (i - 1.5)
        axes["A"].errorbar(places, z[:, i], 2.0, fmt=marker, label=f"neuron {i + 1}")
    axes["A"].axhline(0.0, color="0.6", linewidth=0.8)
    axes["A"].set_xticks(range(4), ["threshold", "width", r"$\tau_m$", "reset"])
    axes["A"].set(ylabel="fitted minus true (standard errors)", ylim=(-5.5, 7.5))
    axes["A"].legend(ncols=2)
    for each, color, label in (
        (network, "C1", "fitted"),
        (poisson, "C3", "without memory"),
    ):
        test = rl.time_rescaling(each.layers[0], drive, trains, grid, key=key)
        print(f"p-values of the intervals, {label}: {np.round(test.p_value, 4)}")
        for values in test.intervals:
            quantiles = (np.arange(len(values)) + 0.5) / len(values)
            off = np.sort(values) - quantiles
            axes["B"].plot(
                quantiles, off * np.sqrt(len(values)), color=color, label=label
            )
            label = None
    for bound in (-1.36, 1.36):
        axes["B"].axhline(bound, color="0.4", linestyle="--", linewidth=0.8)
    text = r"(sorted minus uniform) $\times\ \sqrt{n}$"
    axes["B"].set(xlabel="quantile of the uniform distribution", ylabel=text)
    axes["B"].legend()
    runs = {
        "spiking": spiking,
        "generalised rate, fitted neurons": rate,
        "true neurons": exact,
    }
    rl.plot.traces(runs, ax=axes["C"])
    axes["C"].lines[-1].set(color="black", linestyle="--")
    axes["C"].legend(loc="upper right")
    axes["C"].margins(y=0.3)
difference = rl.mean_absolute_error(rate.outputs, exact.outputs)
noise = rl.mean_absolute_error(spiking.outputs, rate.outputs)
print(
    f"error of the rate by the fit {difference:.2g}, of the spikes by their number {noise:.2g}"
)
