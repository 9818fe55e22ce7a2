"""Small networks and inputs that many tests take."""

import jax
import numpy as np

import ratelike as rl


def relay(neuron=None, num_neurons=96, num_latents=2, depth=1, seed=0, dtype=None):
    """A relay network, by default in the type that JAX is set to."""
    network = rl.relay_network(
        rl.SRM0() if neuron is None else neuron,
        num_neurons=num_neurons,
        num_latents=num_latents,
        depth=depth,
        key=jax.random.key(seed),
    )
    if dtype is None:
        return network
    return jax.tree.map(lambda x: x.astype(dtype), network)


def drive(num_steps, num_latents=2, seed=1, size=0.03):
    """Increments that are independent normal numbers, of no process in particular."""
    return size * np.random.default_rng(seed).normal(size=(num_steps, num_latents))


def white_noise(num_steps, num_latents=4, dt=1e-3, seed=1):
    """Increments of a `WienerDrive`."""
    grid = rl.TimeGrid(dt, num_steps)
    return rl.WienerDrive(num_latents, key=jax.random.key(seed)).increments(grid)
