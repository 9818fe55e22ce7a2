"""A Bode plot

How strongly, and how late, neurons follow a weak signal: the linear response of each around its stationary state. Those
that are refractory have a resonance near their firing rate, which the conventional rate lacks. Dots are measured from
spikes, whose signal was a sum of sinusoids of these frequencies.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ratelike as rl

grid, ones = rl.TimeGrid(1e-3, 2000), jnp.ones((8000, 1))
neuron = rl.SRM0(refractory=rl.ExponentialRefractory(20.0, tau=10e-3, dead_time=2e-3))
bias = 4.0 + 0.3 * jax.random.normal(jax.random.key(0), (8000,))
network = rl.Network([rl.Layer(neuron, ones, ones, bias)])

at = rl.analysis.stationary_state(network, [0.0], dt=grid.dt)
frequencies = jnp.geomspace(2.0, 200.0, 100)
kinds = {"generalised": rl.GeneralisedRate(), "conventional": rl.ConventionalRate()}
gains = {}
for name, kind in kinds.items():
    gains[f"{name} rate"] = rl.analysis.transfer_function(
        network, frequencies, at=at, dynamics=kind
    )

sent = np.array([2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 110, 140])  # Hz
waves = np.exp(2j * np.pi * (np.outer(grid.times[:-1], sent) + sent**2 / 1e3))
increments = 0.15 * np.real(waves).sum(axis=1, keepdims=True) * grid.dt
begin, key = at.state(network), jax.random.key(1)
run = rl.simulate(network, increments, grid, rl.Spiking(), key=key, initial=begin)
measured = waves.conj().T @ np.asarray(run.rates[0]) / (0.5 * grid.num_steps * 0.15)

ax = rl.plot.bode(frequencies, gains)
ax.plot(sent, abs(measured), "o", color="0.5")
plt.show()
