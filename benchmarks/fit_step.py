"""Time of a step of `rl.fit`, for one input of it, after each of four losses.

    python benchmarks/fit_step.py                                        # 8 inputs in a step, in threads
    python benchmarks/fit_step.py --neurons 1024 --steps 500 --inputs 1  # one

The loss draws its input, as in training, and is differentiated by the encoders.
"""

import argparse
import time

import gradients
import jax
import numpy as np
import optax

import ratelike as rl

WARM_UP, STEPS = 3, 25


def seconds_of_steps(method, options: argparse.Namespace) -> np.ndarray:
    grid = rl.TimeGrid(1e-3, options.steps)
    mesh = rl.AgeMesh.graded(rl.SRM0())
    network = rl.relay_network(
        rl.SRM0(),
        num_neurons=options.neurons,
        num_latents=options.latents,
        depth=1,
        key=jax.random.key(0),
    )

    def loss(network, key):
        increments = rl.WienerDrive(options.latents, key=key).increments(grid)
        target = rl.membrane_traces(increments, network.output_tau_m, grid.dt)
        problem = gradients.Problem(network, increments, target, grid, mesh)
        return method(network, problem, key)

    moments = []

    def watched(steps):
        for step in steps:
            moments.append(time.perf_counter())
            yield step
        moments.append(time.perf_counter())

    rl.fit(
        network,
        loss,
        where=lambda network: [layer.encoder for layer in network.layers],
        optimiser=optax.adam(1e-2),
        num_steps=WARM_UP + STEPS,
        key=jax.random.key(5),
        batch_size=options.inputs,
        progress=watched,
    )
    return np.diff(moments)[WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=100, help="N")
    parser.add_argument("--steps", type=int, default=1000, help="of 1 ms")
    parser.add_argument("--latents", type=int, default=2, help="p")
    parser.add_argument("--inputs", type=int, default=8, help="of a step")
    parser.add_argument("--all-cores", action="store_true", help="rl.use_all_cores()")
    options = parser.parse_args()
    if options.all_cores:
        rl.use_all_cores()
    for name, method in gradients.METHODS.items():
        if name != "with variance, exact ages":
            seconds = seconds_of_steps(method, options) / options.inputs
            print(f"{name}: {1e3 * np.median(seconds):.1f} ms for an input", flush=True)


if __name__ == "__main__":
    main()
