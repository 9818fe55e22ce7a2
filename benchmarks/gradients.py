"""Time of one gradient: exact, of the rate and of the expected loss of spikes, against straight-through spikes.

    python benchmarks/gradients.py

The gradient of a squared error of the outputs by all encoders, decoders and biases of a relay network of SRM0 neurons,
the same network, input and target for all methods. Methods take turns in one process; printed are the medians of the
times, and of the ratios within a turn, which a loaded machine disturbs less.
"""

import argparse
import itertools
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl


class Problem(eqx.Module):
    """A network, and an input path and target, or several of them side by side."""

    network: rl.Network
    increments: jax.Array
    target: jax.Array
    grid: rl.TimeGrid
    age_mesh: rl.AgeMesh


def connectivity_of(network: rl.Network):
    layers = network.layers
    return [x for layer in layers for x in (layer.encoder, layer.decoder, layer.bias)]


def rate(network: rl.Network, problem: Problem, key, solver=None) -> jax.Array:
    arguments = network, problem.increments, problem.grid, problem.target
    return rl.rate_loss(*arguments, dynamics=rl.GeneralisedRate(solver))


def rate_graded(network: rl.Network, problem: Problem, key) -> jax.Array:
    return rate(network, problem, key, rl.AgeShift(problem.age_mesh))


def spikes_expected(
    network: rl.Network, problem: Problem, key, age_mesh: rl.AgeMesh | None = None
) -> jax.Array:
    arguments = network, problem.increments, problem.grid, problem.target
    return rl.expected_spiking_loss(
        *arguments, num_probes=2, key=key, age_mesh=age_mesh
    )


def exactly_expected(network: rl.Network, problem: Problem, key) -> jax.Array:
    return spikes_expected(network, problem, key, rl.AgeMesh.uniform())


def straight_through(network: rl.Network, problem: Problem, key) -> jax.Array:
    """Of one trial."""
    dynamics = rl.Spiking(rl.train.StraightThrough())
    run = rl.simulate(network, problem.increments, problem.grid, dynamics, key=key)
    return jnp.mean((run.outputs - problem.target) ** 2)


METHODS = {
    "rate, exact ages": rate,
    "rate, graded ages": rate_graded,
    "with variance": spikes_expected,
    "with variance, exact ages": exactly_expected,
    "straight-through": straight_through,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 1024], help="N")
    parser.add_argument("--depth", type=int, nargs="+", default=[1], help="layers")
    parser.add_argument("--latents", type=int, default=4, help="p")
    parser.add_argument("--dt", type=float, default=1e-3, help="s")
    parser.add_argument("--duration", type=float, default=0.5, help="s")
    parser.add_argument("--turns", type=int, default=7, help="of every method")
    parser.add_argument(
        "--inputs", type=int, nargs="+", default=[0], help="by vmap; 0 without"
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    cores = parser.add_mutually_exclusive_group()
    cores.add_argument(
        "--one-core", action="store_true", help="programs are not shared among threads"
    )
    cores.add_argument("--all-cores", action="store_true", help="rl.use_all_cores()")
    options = parser.parse_args()
    if options.all_cores:
        rl.use_all_cores()
    grid = rl.TimeGrid(options.dt, round(options.duration / options.dt))
    print(f"T = {grid.num_steps} steps of {1e3 * grid.dt:g} ms, p = {options.latents}")
    print("| depth | N | inputs | method | forward | gradient | / forward | / last |")
    print("|---|---|---|---|---|---|---|---|")
    cases = itertools.product(options.depth, options.sizes, options.inputs)
    for depth, size, inputs in cases:
        problem = make_problem(size, depth, options.latents, inputs, grid)
        forward, gradient = 1e3 * measure(problem, options) / max(inputs, 1)
        for name, there, back, reference in zip(
            options.methods, forward.T, gradient.T, [gradient[:, -1]] * 9, strict=False
        ):
            numbers = np.median([there, back, back / there, back / reference], axis=1)
            shown = " | ".join(f"{number:.1f}" for number in numbers)
            print(f"| {depth} | {size} | {inputs} | {name} | {shown} |", flush=True)


def make_problem(
    size: int, depth: int, num_latents: int, inputs: int, grid: rl.TimeGrid
) -> Problem:
    """With `inputs` > 0 so many input paths and targets, side by side."""
    keys = jax.random.split(jax.random.key(size + depth), 2)
    network = rl.relay_network(
        rl.SRM0(), num_neurons=size, num_latents=num_latents, depth=depth, key=keys[0]
    )

    def signals(key):
        increments = rl.WienerDrive(num_latents, key=key).increments(grid)
        return increments, rl.membrane_traces(increments, network.output_tau_m, grid.dt)

    if inputs:
        increments, target = jax.vmap(signals)(jax.random.split(keys[1], inputs))
    else:
        increments, target = signals(keys[1])
    age_mesh = rl.AgeMesh.graded(rl.SRM0(), tolerance=1e-3)
    return Problem(network, increments, target, grid, age_mesh)


def measure(problem: Problem, options: argparse.Namespace) -> np.ndarray:
    """Seconds, (forward or gradient, turns, methods)."""
    connectivity = connectivity_of(problem.network)
    signals = problem.increments, problem.target
    together = problem.increments.ndim == 3
    compiler_options = {}
    if options.one_core:
        compiler_options["xla_cpu_multi_thread_eigen"] = False

    def compiled(loss, differentiate):
        def of(connectivity, signals, key):
            network = eqx.tree_at(connectivity_of, problem.network, connectivity)
            one = Problem(network, *signals, problem.grid, problem.age_mesh)
            return loss(network, one, key)

        def mean(connectivity, signals, key):
            if not together:
                return of(connectivity, signals, key)
            keys = jax.random.split(key, len(signals[0]))
            return jnp.mean(jax.vmap(of, (None, 0, 0))(connectivity, signals, keys))

        function = jax.value_and_grad(mean) if differentiate else mean
        return jax.jit(function, compiler_options=compiler_options)

    losses = [METHODS[name] for name in options.methods]
    functions = [[compiled(loss, backward) for loss in losses] for backward in (0, 1)]
    seconds = np.zeros((2, options.turns, len(losses)))
    for turn in range(-1, options.turns):  # the first compiles
        key = jax.random.key(turn + 1)
        for backward, index in np.ndindex(2, len(losses)):
            start = time.perf_counter()
            result = functions[backward][index](connectivity, signals, key)
            jax.block_until_ready(result)
            if turn >= 0:
                seconds[backward, turn, index] = time.perf_counter() - start
    return seconds


if __name__ == "__main__":
    main()
