"""Excitation and inhibition that oscillate

Named populations with signs, delays and synapses. Inhibition follows excitation and silences both: a gamma rhythm. The
rate network oscillates in the same way; 1000 spiking neurons follow it until fluctuations have shifted the phase.
"""

import jax
import matplotlib.pyplot as plt

import ratelike as rl

kernel = rl.ExponentialRefractory(5.0, tau=10e-3, dead_time=2e-3, memory=50e-3)
slow, fast = (rl.SRM0(tau_m, refractory=kernel) for tau_m in (10e-3, 5e-3))
spread = 0.3 * jax.random.normal(jax.random.key(0), (1000,))


def connection(source, target, weight):  # by which 10 Hz move the potential
    decay = rl.ExponentialSynapse(2e-3 if source == "exc" else 3e-3)
    return rl.Connection(source, target, weight, 0.1, delay=1e-3, synapse=decay)


layer = rl.population_layer(
    {
        "exc": rl.Neurons(slow, 800, 4.3 + spread[:800], sign=+1),
        "inh": rl.Neurons(fast, 200, -1.0 + spread[800:], sign=-1),
    },
    [
        connection("exc", "exc", 0.5),
        connection("exc", "inh", 3.0),
        connection("inh", "exc", -3.0),
        connection("inh", "inh", -2.5),
    ],
)
network, grid = rl.Network([layer]), rl.TimeGrid(dt=0.5e-3, num_steps=600)
spiking = rl.simulate(network, None, grid, rl.Spiking(), key=jax.random.key(1))
rate = rl.simulate(network, None, grid, rl.GeneralisedRate())

ax = rl.plot.rates({"spiking": spiking, "generalised rate": rate}, bin=2e-3)
ax.set(xlim=(20, 300), ylim=(0, 250))
plt.show()
