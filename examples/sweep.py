"""A study over two parameters

Error against number of neurons, for encoders of two lengths. Every finished cell of the study is a file: stopped and
started again, it goes on; started several times on one folder, the processes share the work.
"""

import tempfile

import jax
import matplotlib.pyplot as plt

import ratelike as rl


def make_network(num_neurons, gain, *, key):
    neuron = rl.SRM0()
    return rl.relay_network(
        neuron, num_neurons=num_neurons, num_latents=2, depth=1, gain=gain, key=key
    )


with tempfile.TemporaryDirectory() as folder:  # a name of yours, such as "study"
    result = rl.sweep(
        make_network,
        rl.TimeGrid(dt=1e-3, num_steps=200),
        axes={"num_neurons": [64, 128, 256], "gain": [1.0, 2.0]},
        num_trials=4,
        key=jax.random.key(0),
        folder=folder,
        burn_in=50,
    )
# All trials as an xarray dataset: result.dataset()

for gain in result.axes["gain"]:
    ax = rl.plot.convergence(result.convergence(gain=gain), unit="s.d. of input")
    ax.set_title(f"gain {gain}")
plt.show()
