"""A spectrum of fluctuations

Finitely many neurons fluctuate around the limit. Here they inhibit each other, with a delay, and what comes back nearly
makes them oscillate: a peak at some 50 Hz. The spectrum of the mean rate is computed from linear noise, without a spike;
grey is that of spikes of 200 neurons.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import scipy.signal

import ratelike as rl

ones = jnp.ones((200, 1))
encoder = 1.0 + 0.3 * jax.random.normal(jax.random.key(0), (200, 1))
loop = rl.Feedback(
    encoder, -0.1 * ones, delay=4e-3, synapse=rl.ExponentialSynapse(2e-3)
)
network = rl.Network([rl.Layer(rl.SRM0(5e-3), None, ones, 3.0, loop)])

at = rl.analysis.stationary_state(network, dt=1e-3)
modes = rl.analysis.stability(network, at=at)
print(f"mean rate {at.rates[0].mean():.1f} Hz")
print(f"mode: {modes.frequencies[0]:.0f} Hz, growth {modes.growth_rates[0]:.0f} / s")
frequencies = jnp.linspace(1.0, 200.0, 200)
power = rl.analysis.spectrum(network, frequencies, at=at)

grid, key, begin = rl.TimeGrid(1e-3, 4000), jax.random.key(1), at.state(network)
run = rl.simulate(network, None, grid, rl.Spiking(), key=key, initial=begin)
measured = scipy.signal.welch(run.rates[0], 1e3, nperseg=200)
with rl.plot.style():
    ax = plt.subplots(layout="constrained")[1]
ax.semilogy(*measured, color="0.6", label="spikes")
ax.semilogy(
    frequencies, 2.0 * power.rates[0], color="C1", label="linear noise, one-sided"
)
ax.set(xlim=(5, 200), xlabel="frequency (Hz)", ylabel="power of the mean rate (Hz)")
ax.legend()
plt.show()
