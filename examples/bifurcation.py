"""A bifurcation diagram

Neurons that excite each other have two stable states, silent and active, in a range of bias that ends at two folds. The
branch of stationary states is followed by continuation, through the unstable ones between. Spiking networks (dots) that
begin in states of the branch stay near those that are stable, and leave the others.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import ratelike as rl

neuron = rl.SRM0(escape=rl.SigmoidEscape(rate=100.0, threshold=3.0))
encoder = 1.0 + 0.3 * jax.random.normal(jax.random.key(0), (300, 1))
decoder = jnp.full((300, 1), 0.15)  # 100 Hz of all neurons send back a signal of 15
loop = rl.Feedback(encoder, decoder, synapse=rl.ExponentialSynapse(5e-3))


def make_network(bias):
    return rl.Network([rl.Layer(neuron, None, decoder, bias, loop)])


values = jnp.linspace(-2.5, 0.5, 11)
branch = rl.analysis.continuation(make_network, values, dt=1e-3)
for each in branch.bifurcations:
    print(f"{each.kind} at a bias of {each.value:.2f}")

ax = rl.plot.bifurcation({"stationary states": branch})
ax.set(xlabel="bias", ylabel="signal of feedback")
grid, key = rl.TimeGrid(dt=1e-3, num_steps=300), jax.random.key(1)
for value, at in list(zip(branch.values, branch.states, strict=True))[::2]:
    network = make_network(value)
    begin = at.state(network)
    run = rl.simulate(network, None, grid, rl.Spiking(), key=key, initial=begin)
    ax.plot(value, run.outputs[-100:].mean(), "o", color="0.5", zorder=0)
plt.show()
