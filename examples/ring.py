"""A ring attractor

Neurons prefer a direction each, and excite those of similar preference: weights of rank two. A brief cue leaves a bump of
activity behind, which stays for as long as it is left alone, in the direction of the cue. That of the rate network does not
move; spikes of finitely many neurons let it diffuse, the more slowly the more there are.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ratelike as rl

num_neurons = 400
angle = 2.0 * jnp.pi * jnp.arange(num_neurons) / num_neurons
direction = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
neuron = rl.SRM0(escape=rl.SigmoidEscape(rate=100.0, threshold=3.0))
loop = rl.Feedback(direction, 0.5 * direction, synapse=rl.ExponentialSynapse(20e-3))
network = rl.Network([rl.Layer(neuron, direction, direction, 0.0, loop)])

cue = np.array([np.cos(2.0), np.sin(2.0)])
drive = rl.FunctionDrive(lambda t: 10.0 * (abs(t - 0.15) < 0.05)[..., None] * cue)
grid = rl.TimeGrid(dt=1e-3, num_steps=1000)
record = {0: rl.Spikes()}
spiking = rl.simulate(
    network, drive, grid, rl.Spiking(), key=jax.random.key(0), record=record
)
rate = rl.simulate(network, drive, grid, rl.GeneralisedRate())
for name, run in {"spiking": spiking, "generalised rate": rate}.items():
    x, y = np.asarray(run.outputs).T
    early, late = np.degrees(np.arctan2(y, x))[[299, -1]]
    print(f"{name:16} at {early:.1f} degrees after 0.3 s, {late:.1f} after 1 s")

rl.plot.raster(spiking, 0)
plt.show()
