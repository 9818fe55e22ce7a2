"""The error without spikes

How far spikes will be from their limit is predicted from the rate network and its linear noise. The prediction is smooth,
and its gradient tells how to make spikes follow more closely: here, whether a larger bias would. Fifty trials confirm it.
"""

import jax

import ratelike as rl

grid, keys = rl.TimeGrid(dt=1e-3, num_steps=200), jax.random.split(jax.random.key(0), 4)
drive = rl.WienerDrive(2, tau_m=10e-3, key=keys[0])
start = rl.relay_network(
    rl.SRM0(), num_neurons=256, num_latents=2, depth=2, key=keys[1]
)


def make_network(bias):
    parts = [(layer.encoder, layer.decoder) for layer in start.layers]
    return rl.Network([rl.Layer(rl.SRM0(), *each, bias) for each in parts])


def predicted(bias):
    return rl.expected_error(make_network(bias), drive, grid, burn_in=50, key=keys[2])


def measured(bias):
    def trial(key):
        run = rl.simulate(network, drive, grid, rl.Spiking(), key=key)
        return rl.mean_absolute_error(run.outputs, rate.outputs, burn_in=50)

    network = make_network(bias)
    rate = rl.simulate(network, drive, grid, rl.GeneralisedRate())
    return jax.lax.map(trial, jax.random.split(keys[3], 50)).mean()


predicted, measured = jax.jit(jax.value_and_grad(predicted)), jax.jit(measured)
for bias in (1.0, 1.5):
    error, slope = predicted(bias)
    print(f"bias {bias}: {error:.3f}, slope {slope:.3f}; measured {measured(bias):.3f}")
