"""Neurons from recordings: the parameters of four neurons from their spikes, and a network of neurons like them.

    python examples/studies/fit_neuron.py            # 100 s of spikes, some two minutes
    python examples/studies/fit_neuron.py --quick    # 20 s of them

The spikes are those of Brian2's neurons, in steps of 0.05 ms (benchmarks/peers/reference_brian2_trains.py); the fit, by
maximum likelihood, runs in steps of 1 ms.

A  fitted minus true parameters of the four neurons, in standard errors (bars: two)
B  rescaled intervals against the uniform distribution, for neurons fitted with and without memory; 95% of right models
   stay within the grey band
C  a layer of 400 neurons like the fitted ones, on a new input: spikes, the generalised rate, and that of the true neurons
"""

from pathlib import Path

import _script
import jax
import jax.numpy as jnp
import numpy as np
import optax

import ratelike as rl
from ratelike.train import Positive, Unconstrained

jax.config.update("jax_enable_x64", True)
options = _script.options(
    "Fits neurons to spikes of Brian2, and runs a network.",
    None,
    output="fit_neuron",
    quick=dict(duration=20.0),
    duration=(_script.seconds, 100.0, "length in s of the recording"),
)
key = jax.random.key(options.seed)
PARAMETERS = ["threshold", "width", "tau_m", "v_reset"]

data = np.load(Path(__file__).with_name("fit_neuron_brian2.npz"))
grid = rl.TimeGrid(dt=1e-3, num_steps=round(options.duration / 1e-3))
phases = 2.0 * np.pi * np.outer(grid.times[:-1], data["frequencies"]) + data["phases"]
drive = rl.SignalDrive(0.7 + np.sin(phases).sum(axis=1) / np.sqrt(20.0), dt=grid.dt)
times = (data["steps"] + 0.5) * data["dt"]
kept = times < options.duration
trains = [times[kept & (data["neurons"] == i)] for i in range(4)]


def neuron_of(threshold, width, tau_m, v_reset):
    escape = rl.ExponentialEscape(float(data["rate"]), threshold, width)
    dead_time, memory = float(data["dead_time"]), float(data["memory"])
    return rl.LIF(tau_m, escape, v_reset, dead_time, memory)


def parameters_of(network):
    neuron = network.layers[0].neuron
    v_reset = getattr(neuron, "v_reset", None)  # a neuron without memory has none
    return [neuron.escape.threshold, neuron.escape.width, neuron.tau_m, v_reset]


def where(network):
    threshold, width, tau_m, v_reset = parameters_of(network)
    return Positive([width, tau_m]), Unconstrained([threshold, v_reset])


def loss(network, key):
    return -jnp.sum(rl.log_likelihood(network.layers[0], drive, trains, grid))


def fit(neuron):
    start = rl.Network([rl.Layer(neuron, jnp.ones((4, 1)), jnp.ones((4, 1)))])
    optimiser = optax.lbfgs(memory_size=30)
    return rl.fit(start, loss, where=where, optimiser=optimiser, num_steps=80, key=key)


guess = neuron_of(*jnp.outer(jnp.array([1.0, 1.0, 12e-3, -2.0]), jnp.ones(4)))
network, history = fit(guess)
errors = rl.train.standard_errors(network, loss, where=where, key=key).network
poisson, poisson_history = fit(rl.SRM0(guess.tau_m, guess.escape, rl.NoRefractory()))
print(f"{sum(map(len, trains))} spikes, log-likelihood {-history[-1]:.1f} nats")
print(f"without memory: {-poisson_history[-1]:.1f} nats")

true = [data[name] for name in PARAMETERS]
fitted = parameters_of(network)
rows = np.stack([true, fitted, parameters_of(errors)], axis=-1).reshape(-1, 3)
_script.write_table(options, ["true", "estimate", "standard_error"], rows)
for name, row in zip(np.repeat(PARAMETERS, 4), rows, strict=True):
    print("{:10} {:8.4g}: {:.4g} +- {:.2g}".format(name, *row))

encoder = jax.random.normal(key, (400, 2))
new = rl.OrnsteinUhlenbeckDrive(2, tau=50e-3, std=0.7, key=key)


def run(parameters, dynamics):
    """A layer of 100 neurons like each, with encoders of their own."""
    neuron = neuron_of(*jnp.repeat(jnp.asarray(parameters), 100, axis=1))
    many = rl.Network([rl.Layer(neuron, encoder, 0.02 * encoder, bias=0.7)])
    return rl.simulate(many, new, rl.TimeGrid(0.5e-3, 1000), dynamics, key=key)


runs = {
    "spiking": run(fitted, rl.Spiking()),
    "generalised rate, fitted neurons": run(fitted, rl.GeneralisedRate()),
    "true neurons": run(true, rl.GeneralisedRate()),
}
spiking, rate, exact = (each.outputs for each in runs.values())
print(f"error of the rate by the fit {rl.mean_absolute_error(rate, exact):.2g}")
print(f"of the spikes by their number {rl.mean_absolute_error(spiking, rate):.2g}")

titles = {"A": "Fitted parameters", "B": "Rescaled intervals", "C": "Network"}
with _script.picture(options, "ABC", titles, (11, 3.3)) as axes:
    places = np.add.outer(np.arange(4), [-0.18, -0.06, 0.06, 0.18]).ravel()
    axes["A"].errorbar(places, (rows[:, 1] - rows[:, 0]) / rows[:, 2], 2.0, fmt="o")
    axes["A"].axhline(0.0, color="0.6", linewidth=0.8)
    axes["A"].set_xticks(range(4), PARAMETERS)
    axes["A"].set_ylabel("fitted minus true (standard errors)")
    axes["B"].axhspan(-1.36, 1.36, color="0.9")
    fits = {"fitted": network, "without memory": poisson}
    for (label, each), color in zip(fits.items(), ("C1", "C3"), strict=True):
        test = rl.time_rescaling(each.layers[0], drive, trains, grid, key=key)
        print(f"p-values of the intervals, {label}: {np.round(test.p_value, 4)}")
        for values in test.intervals:
            uniform = (np.arange(len(values)) + 0.5) / len(values)
            off = (np.sort(values) - uniform) * np.sqrt(len(values))
            axes["B"].plot(uniform, off, color=color)
        axes["B"].lines[-1].set_label(label)
    axes["B"].set_xlabel("quantile of the uniform distribution")
    axes["B"].set_ylabel(r"(sorted minus uniform) $\times\ \sqrt{n}$")
    axes["B"].legend()
    rl.plot.traces(runs, ax=axes["C"])
    axes["C"].lines[-1].set_linestyle("--")
    axes["C"].legend(loc="upper right")
    axes["C"].margins(y=0.3)
