"""A long run in pieces

Twenty neurons that excite each other are silent or active, and their fluctuations now and then take them from one state to
the other, which the limit never does. A minute of them runs in pieces of ten seconds, each of which is a file: memory is
that of one piece, and the same call goes on where a run was killed.
"""

import tempfile

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ratelike as rl

neuron = rl.SRM0(escape=rl.SigmoidEscape(rate=100.0, threshold=3.0))
encoder, decoder = jnp.ones((20, 1)), jnp.full((20, 1), 0.12)
loop = rl.Feedback(encoder, decoder, synapse=rl.ExponentialSynapse(5e-3))
network = rl.Network([rl.Layer(neuron, None, decoder, 0.45, loop)])
grid, key = rl.TimeGrid(dt=1e-3, num_steps=60_000), jax.random.key(0)

with tempfile.TemporaryDirectory() as folder:  # a name of yours, such as "run"
    rl.stream(network, None, grid, rl.Spiking(), key=key, every=10_000, write=folder)
    run = rl.study.read_stream(folder)

active = run.rates[0].reshape(-1, 200).mean(axis=1) > 40.0  # in bins of 0.2 s
switches = abs(np.diff(active.astype(int))).sum()
print(f"active for {active.mean():.0%} of a minute, {switches} switches")
plt.plot(run.times, run.outputs)
plt.xlabel("time (s)")
plt.ylabel("signal of feedback")
plt.show()
