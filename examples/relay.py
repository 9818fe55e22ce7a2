"""A spiking network and its limit

Three layers of refractory neurons hand on ten latent signals, which no two neurons weight alike. With 1000 neurons a layer
the spiking network does what its generalised rate network does: each neuron is replaced by its expected activity. The
conventional rate network, a static function of the potential with the same weights, does something else.
"""

import jax
import matplotlib.pyplot as plt

import ratelike as rl

network = rl.relay_network(
    rl.SRM0(), num_neurons=1000, num_latents=10, depth=3, key=jax.random.key(0)
)
drive = rl.WienerDrive(10, tau_m=10e-3, key=jax.random.key(1))
grid = rl.TimeGrid(dt=1e-3, num_steps=300)

runs = {
    "spiking": rl.simulate(network, drive, grid, rl.Spiking(), key=jax.random.key(2)),
    "generalised rate": rl.simulate(network, drive, grid, rl.GeneralisedRate()),
    "conventional rate": rl.simulate(network, drive, grid, rl.ConventionalRate()),
}
for name, run in runs.items():
    error = rl.mean_absolute_error(runs["spiking"].outputs, run.outputs, burn_in=100)
    print(f"{name:17} {error:.3f} s.d. from the spiking network")

rl.plot.traces(runs, start=0.1, unit="s.d. of input")
plt.show()
