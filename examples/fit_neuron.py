"""A neuron from its spikes

Maximum likelihood for an escape-noise neuron: its threshold, membrane time constant and strength of refractoriness, from
20 recorded trains of a second. The likelihood is exact on the grid, and its curvature gives standard errors.
"""

import jax
import jax.numpy as jnp
import optax

import ratelike as rl


def make_network(threshold, tau_m, amplitude):
    escape = rl.ExponentialEscape(10.0, threshold)
    neuron = rl.SRM0(tau_m, escape, rl.ExponentialRefractory(amplitude))
    return rl.Network([rl.Layer(neuron, jnp.ones((20, 1)), jnp.ones((20, 1)))])


def chosen(network):
    n = network.layers[0].neuron
    positive = rl.train.Positive([n.tau_m, n.refractory.amplitude])
    return [positive, rl.train.Unconstrained(n.escape.threshold)]


def loss(network, key):
    return -rl.log_likelihood(network.layers[0], drive, trains, grid).sum()


key, drive_key = jax.random.split(jax.random.key(0))
drive, grid = rl.WienerDrive(1, tau_m=10e-3, key=drive_key), rl.TimeGrid(1e-3, 1000)
true, spikes = make_network(0.5, 15e-3, 7.0), {0: rl.Spikes()}
run = rl.simulate(true, drive, grid, rl.Spiking(), key=key, record=spikes)
trains = run.spike_times(0)  # for each neuron an array of seconds
start, lbfgs = make_network(0.0, 10e-3, 4.0), optax.lbfgs()
fitted, _ = rl.fit(start, loss, where=chosen, optimiser=lbfgs, num_steps=15, key=key)
errors = rl.train.standard_errors(fitted, loss, where=chosen, key=key).network
for name, network in {"true": true, "fitted": fitted, "error": errors}.items():
    n = network.layers[0].neuron
    print(name, n.escape.threshold, n.tau_m, n.refractory.amplitude)
