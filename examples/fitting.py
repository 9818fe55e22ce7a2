"""Fitting a network

Sixty neurons learn to multiply two slow signals. Decoders are solved by regression; then encoders, decoders and biases
follow the exact gradient of what the spiking network will do, its squared error with the variance of its spikes, of which
none is drawn. At the end spikes are drawn for the first time, as a test.
"""

import jax
import jax.numpy as jnp
import optax

import ratelike as rl

grid = rl.TimeGrid(dt=1e-3, num_steps=300)
drive = rl.OrnsteinUhlenbeckDrive(2, tau=0.1, std=1.0, key=jax.random.key(0))
slow = rl.membrane_traces(drive.increments(grid), 10e-3, grid.dt)
target = slow.prod(axis=1, keepdims=True)

encoder = jax.random.normal(jax.random.key(1), (60, 2))
layer = rl.Layer(rl.SRM0(), encoder, jnp.zeros((60, 1)), bias=1.0)
network = rl.Network([layer])
start = rl.train.solve_decoders(network, drive, grid, target, ridge=500.0)


def loss(network, key):
    return rl.expected_spiking_loss(network, drive, grid, target)


def where(network):
    layer = network.layers[0]
    return [layer.encoder, layer.decoder, layer.bias]


key, lamb = jax.random.key(2), optax.lamb(0.03)
fitted, _ = rl.fit(start, loss, where=where, optimiser=lamb, num_steps=40, key=key)
for name, network in {"start": start, "fitted": fitted}.items():
    run = rl.simulate(network, drive, grid, rl.Spiking(), key=key)
    measured, expected = jnp.mean((run.outputs - target) ** 2), loss(network, key)
    print(f"{name}: squared error {expected:.3f} expected, {measured:.3f} of spikes")
