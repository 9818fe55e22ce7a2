"""Time of one gradient: exact, of the rate and of the expected loss of spikes, against straight-through spikes.

    python benchmarks/gradients.py

The gradient of a squared error of the outputs by all encoders, decoders and biases of a relay network of SRM0 neurons,
the same network, input and target for all methods. Methods take turns in one process; printed are the medians of the
times, and of the ratios within a turn, which a loaded machine disturbs less.
"""

import argparse
import functools
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl

LATENTS = 4


class Problem(eqx.Module):
    network: rl.Network
    increments: jax.Array
    target: jax.Array
    grid: rl.TimeGrid

    def with_connectivity(self, connectivity) -> rl.Network:
        return eqx.tree_at(connectivity_of, self.network, connectivity)


def connectivity_of(network: rl.Network):
    layers = network.layers
    return [x for layer in layers for x in (layer.encoder, layer.decoder, layer.bias)]


def rate(network: rl.Network, problem: Problem, key: jax.Array) -> jax.Array:
    return rl.rate_loss(network, problem.increments, problem.grid, problem.target)


def spikes_expected(
    network, problem: Problem, key: jax.Array, age_mesh: rl.AgeMesh | None = None
) -> jax.Array:
    return rl.expected_spiking_loss(
        network,
        problem.increments,
        problem.grid,
        problem.target,
        num_probes=2,
        key=key,
        age_mesh=age_mesh,
    )


def straight_through(network, problem: Problem, key: jax.Array) -> jax.Array:
    """Of one trial."""
    dynamics = rl.Spiking(rl.train.StraightThrough())
    run = rl.simulate(network, problem.increments, problem.grid, dynamics, key=key)
    return jnp.mean((run.outputs - problem.target) ** 2)


METHODS = {
    "rate, exact ages": rate,
    "with variance": spikes_expected,
    "with variance, exact ages": functools.partial(
        spikes_expected, age_mesh=rl.AgeMesh.uniform()
    ),
    "straight-through": straight_through,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 1024], help="N")
    parser.add_argument("--depth", type=int, nargs="+", default=[1], help="layers")
    parser.add_argument("--dt", type=float, default=1e-3, help="s")
    parser.add_argument("--duration", type=float, default=0.5, help="s")
    parser.add_argument("--turns", type=int, default=7, help="of every method")
    options = parser.parse_args()
    grid = rl.TimeGrid(options.dt, round(options.duration / options.dt))
    print(f"T = {grid.num_steps} steps of {1e3 * grid.dt:g} ms, p = {LATENTS}")
    print("| depth | N | method | time (ms) | time / straight-through |")
    print("|---|---|---|---|---|")
    for depth in options.depth:
        for size in options.sizes:
            seconds = measure(make_problem(size, depth, grid), options.turns)
            ratios = seconds / seconds[:, -1:]
            for name, taken, ratio in zip(
                METHODS, np.median(seconds, 0), np.median(ratios, 0), strict=True
            ):
                print(
                    f"| {depth} | {size} | {name} | {1e3 * taken:.1f} | {ratio:.1f} |"
                )


def make_problem(size: int, depth: int, grid: rl.TimeGrid) -> Problem:
    keys = jax.random.split(jax.random.key(size + depth), 2)
    network = rl.relay_network(
        rl.SRM0(), num_neurons=size, num_latents=LATENTS, depth=depth, key=keys[0]
    )
    increments = rl.WienerDrive(LATENTS, key=keys[1]).increments(grid)
    target = rl.membrane_traces(increments, network.output_tau_m, grid.dt)
    return Problem(network, increments, target, grid)


def measure(problem: Problem, turns: int) -> np.ndarray:
    """Seconds, (turns, methods)."""

    def gradient_by(loss):
        def of(connectivity, problem, key):
            return loss(problem.with_connectivity(connectivity), problem, key)

        return eqx.filter_jit(jax.value_and_grad(of))

    gradients = [gradient_by(loss) for loss in METHODS.values()]
    connectivity = connectivity_of(problem.network)
    seconds = np.zeros((turns, len(METHODS)))
    for turn in range(-1, turns):  # the first compiles
        key = jax.random.key(turn + 1)
        for index, gradient in enumerate(gradients):
            start = time.perf_counter()
            jax.block_until_ready(gradient(connectivity, problem, key))
            if turn >= 0:
                seconds[turn, index] = time.perf_counter() - start
    return seconds


if __name__ == "__main__":
    main()
