"""The error without spikes

How far a spiking network will be from its limit is predicted from the rate network and its linear noise. The prediction
is a smooth function of the network, so that its gradient tells how to make the spikes follow more closely: here, whether
longer encoders would. Spikes of 50 trials confirm it.
"""

import equinox as eqx
import jax

import ratelike as rl

network = rl.relay_network(
    rl.SRM0(), num_neurons=256, num_latents=2, depth=2, key=jax.random.key(0)
)
grid, key = rl.TimeGrid(dt=1e-3, num_steps=200), jax.random.key(1)
drive = rl.WienerDrive(2, tau_m=10e-3, key=key)


def scaled(factor):
    longer = [factor * layer.encoder for layer in network.layers]
    return eqx.tree_at(lambda n: [layer.encoder for layer in n.layers], network, longer)


@jax.jit
@jax.value_and_grad
def predicted(factor):
    return rl.expected_error(scaled(factor), drive, grid, burn_in=50, key=key)


@jax.jit
def measured(factor):
    def trial(key):
        run = rl.simulate(scaled(factor), drive, grid, rl.Spiking(), key=key)
        return rl.mean_absolute_error(run.outputs, rate.outputs, burn_in=50)

    rate = rl.simulate(scaled(factor), drive, grid, rl.GeneralisedRate())
    return jax.lax.map(trial, jax.random.split(key, 50)).mean()


for factor in (1.0, 1.5):
    error, slope = predicted(factor)
    print(f"encoders x {factor}: predicted {error:.3f} (slope {slope:.3f}), ", end="")
    print(f"measured {measured(factor):.3f}")
