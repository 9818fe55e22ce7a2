"""A refractory density

What a generalised rate computes of a neuron: the probability q(t, a) that its last spike was a time a ago. A step of input
makes all neurons fire at about the same time; bands of equal age then move along the diagonal, and blur. The rate, which
is what flows in at age 0, rings until the ages are mixed again.
"""

import diffrax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ratelike as rl

kernel = rl.ExponentialRefractory(amplitude=8.0, tau=15e-3, dead_time=3e-3, memory=0.1)
ones = jnp.ones((1, 1))
network = rl.Network([rl.Layer(rl.SRM0(refractory=kernel), ones, ones)])
step = rl.FunctionDrive(lambda t: np.where(t < 0.3, 1.0, 4.0))
grid = rl.TimeGrid(dt=0.5e-3, num_steps=1000)

shown = diffrax.SaveAt(ts=jnp.asarray(grid.times[580:840:2]))
run = rl.simulate(network, step, grid, rl.GeneralisedRate(saveat=shown))

ax = rl.plot.density(run.saved[0], age_step=grid.dt)
ax.set_ylim(0, 60)
beside = ax.twinx()
beside.plot(1e3 * run.step_times[580:840], run.rates[0, 580:840], color="white")
beside.set(ylabel="rate (Hz), white", ylim=(0, 150))
plt.show()
