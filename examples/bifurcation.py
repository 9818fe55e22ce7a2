"""A bifurcation diagram

Neurons that excite each other have two stable states, silent and active, in a range of bias that ends at two folds. The
branch of stationary states is followed by continuation; between the folds lies the unstable state. Spiking networks that
begin silent, or active, settle on the stable parts, and jump where these end.
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
    return rl.Network([rl.Layer(neuron, encoder, decoder, bias, loop)])


values = jnp.linspace(-3.0, 0.0, 13)
branch = rl.analysis.continuation(make_network, values, dt=1e-3, input=[0.0])
for each in branch.bifurcations:
    print(f"{each.kind} at a bias of {each.value:.2f}")

grid = rl.TimeGrid(dt=1e-3, num_steps=400)
kick = 10.0 * (grid.times[:-1, None] < 0.1) * grid.dt  # input for 0.1 s


@jax.jit
def settled(bias, sign):
    network, key = make_network(bias), jax.random.key(1)
    run = rl.simulate(network, sign * kick, grid, rl.Spiking(), key=key)
    return run.outputs[-100:].mean()


ax = rl.plot.bifurcation({"stationary states": branch})
for sign in (-1.0, 1.0):
    ax.plot(values, [settled(bias, sign) for bias in values], "o", color="0.5")
ax.set(xlabel="bias", ylabel="signal of feedback")
plt.show()
