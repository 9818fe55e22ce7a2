"""A long run in pieces

Sixty neurons that excite each other are silent or active, and their fluctuations now and then take them from one state to
the other, which the limit never does. A minute of them runs in pieces of ten seconds, each of which is a file: memory is
that of one piece, and the same call goes on where a run was killed.
"""

import tempfile

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import ratelike as rl

neuron = rl.SRM0(escape=rl.SigmoidEscape(rate=100.0, threshold=3.0))
encoder, decoder = jnp.ones((60, 1)), jnp.full((60, 1), 0.15)
loop = rl.Feedback(encoder, decoder, synapse=rl.ExponentialSynapse(5e-3))
network = rl.Network([rl.Layer(neuron, encoder, decoder, -1.8, loop)])
grid, key = rl.TimeGrid(dt=1e-3, num_steps=60_000), jax.random.key(0)

with tempfile.TemporaryDirectory() as folder:  # a name of yours, such as "run"
    rl.stream(network, None, grid, rl.Spiking(), key=key, every=10_000, write=folder)
    run = rl.study.read_stream(folder)

active = run.rates[0].reshape(-1, 200).mean(axis=1) > 20.0
print(
    f"active for {active.mean():.0%} of the time, {abs(jnp.diff(active * 1)).sum()} switches"
)
plt.plot(run.times, run.rates[0])
plt.show()
