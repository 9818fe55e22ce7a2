"""Predicted against measured finite-size error of a stable inhibitory loop, over network sizes.

    python benchmarks/recurrent_finite_size.py

A layer of SRM0 neurons under white noise inhibits itself in the directions of its input, with a delay of 2 ms. For each
loop gain and size, networks of fresh connectivity and input are drawn; on each, `rl.expected_error` predicts the error
from linear noise that runs through the loop, and spiking trials measure it. Beside it, what a prediction gives that
forgets the loop (`open`: of the same layer without feedback, on the input that its neurons receive in the rate
network). Standard errors are those of the ratios over networks.
"""

import argparse
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl

LATENTS = 4
NEURON = rl.SRM0()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compares predicted with measured errors of a loop."
    )
    parser.add_argument("--loop-gains", type=float, nargs="+", default=[1.0, 2.0])
    sizes = [250, 1000, 4000]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="neurons")
    parser.add_argument("--networks", type=int, default=8, help="of each size")
    parser.add_argument("--trials", type=int, default=4, help="of spikes per network")
    parser.add_argument("--probes", type=int, default=4, help="per network")
    parser.add_argument("--duration", type=float, default=1.0, help="s, with burn-in")
    parser.add_argument("--burn-in", type=float, default=0.2, help="s")
    options = parser.parse_args()
    grid = rl.TimeGrid(1e-3, round(options.duration / 1e-3))
    burn_in = round(options.burn_in / grid.dt)

    @eqx.filter_jit
    def compare(network: rl.Network, key: jax.Array) -> jax.Array:
        """Predicted, forgetting the loop, and measured."""
        drive_key, spike_key, probe_key = jax.random.split(key, 3)
        drive = rl.WienerDrive(LATENTS, tau_m=NEURON.tau_m, key=drive_key)
        increments = drive.increments(grid)
        rate = rl.simulate(network, increments, grid, rl.GeneralisedRate())

        def trial(key: jax.Array) -> jax.Array:
            run = rl.simulate(network, increments, grid, rl.Spiking(), key=key)
            return rl.mean_absolute_error(run.outputs, rate.outputs, burn_in=burn_in)

        errors = jax.lax.map(trial, jax.random.split(spike_key, options.trials))
        predicted = rl.expected_error(
            network,
            increments,
            grid,
            burn_in=burn_in,
            num_probes=options.probes,
            key=probe_key,
        )
        received = jnp.concatenate([increments, fed_back(rate, network, grid)], 1)
        apart = rl.expected_error(open_loop(network), received, grid, burn_in=burn_in)
        return jnp.stack([predicted, apart, jnp.mean(errors)])

    print(
        "gain      N  networks  predicted  measured   ratio  (s.e.)    open   time (s)"
    )
    for gain in options.loop_gains:
        for size in options.sizes:
            start = time.perf_counter()
            keys = jax.random.split(jax.random.key(size), options.networks)
            rows = [compare(inhibitory(size, gain, key), key) for key in keys]
            report(gain, size, np.array(rows), time.perf_counter() - start)


def inhibitory(size: int, gain: float, key: jax.Array) -> rl.Network:
    """One layer, whose decoder has gain one: what it feeds back is `gain` times its input, with the other sign."""
    key = jax.random.fold_in(key, 0)
    relay = rl.relay_network(
        NEURON, num_neurons=size, num_latents=LATENTS, depth=1, key=key
    )
    layer = relay.layers[0]
    feedback = rl.Feedback(layer.encoder, -gain * layer.decoder, 2e-3)
    return rl.Network(
        [rl.Layer(NEURON, layer.encoder, layer.decoder, layer.bias, feedback)]
    )


def fed_back(rate: rl.Trajectory, network: rl.Network, grid: rl.TimeGrid) -> jax.Array:
    """What the rate network sends to itself, when it arrives (without self-connections being taken off: of order 1/N)."""
    feedback = network.layers[0].feedback
    assert isinstance(feedback, rl.Feedback)
    assert feedback.delay is not None
    steps = round(feedback.delay / grid.dt)
    sent = rate.increments[0]
    return jnp.concatenate([jnp.zeros_like(sent[:steps]), sent[:-steps]])


def open_loop(network: rl.Network) -> rl.Network:
    """The layer with what it feeds back as further latents that come in."""
    layer = network.layers[0]
    feedback = layer.feedback
    assert isinstance(feedback, rl.Feedback)
    # Its decoder is a multiple of that of the layer.
    ratio = jnp.sum(feedback.decoder * layer.decoder) / jnp.sum(layer.decoder**2)
    encoder = jnp.concatenate([layer.encoder, ratio * feedback.encoder], 1)
    return rl.Network([rl.Layer(layer.neuron, encoder, layer.decoder, layer.bias)])


def report(gain: float, size: int, rows: np.ndarray, seconds: float) -> None:
    predicted, apart, measured = rows.mean(axis=0)
    ratio = predicted / measured
    residuals = rows[:, 0] - ratio * rows[:, 2]
    spread = residuals.std(ddof=1) / np.sqrt(len(rows)) / measured
    print(
        f"{-gain:4g} {size:6d} {len(rows):9d} {predicted:10.4f} {measured:9.4f} "
        f"{ratio:7.3f} ({spread:.3f}) {apart / measured:7.3f} {seconds:10.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
