"""An input of your own

A current is a table: a column of seconds, and one for each latent signal, sampled as it comes. The mean over 20 trials of
100 leaky integrate-and-fire neurons is what their rate network computes in one run. A signal x has the unit of the latents:
at a constant x a potential settles at bias + encoder x.
"""

import io

import jax
import matplotlib.pyplot as plt
import numpy as np

import ratelike as rl

file = io.StringIO("0.00,0\n0.05,0\n0.06,3\n0.15,3\n0.16,-2\n0.20,-2\n0.30,2\n")
table = np.loadtxt(file, delimiter=",")  # seconds, x
drive = rl.SignalDrive(
    table[:, 1:], times=table[:, 0], interpolation=rl.PiecewiseLinear()
)
encoder, decoder = np.ones((100, 1)), np.ones((100, 1))
network = rl.Network([rl.Layer(rl.LIF(v_reset=-5.0), encoder, decoder, bias=0.5)])
grid = rl.TimeGrid(dt=0.5e-3, num_steps=600)

mean = rl.trials(network, drive, grid, key=jax.random.key(0), num_trials=20)
rate = rl.simulate(network, drive, grid, rl.GeneralisedRate())

ax = rl.plot.traces({"generalised rate": rate}, unit="Hz")
low, high = (mean.outputs + sign * 2.0 * mean.outputs_error for sign in (-1, 1))
times, label = 1e3 * mean.times, "spikes: mean ± 2 standard errors"
ax.fill_between(times, low[:, 0], high[:, 0], color="C1", alpha=0.6, label=label)
ax.legend()
plt.show()
