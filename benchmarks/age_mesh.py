"""Graded meshes of ages against the exact density: error of the outputs, and what it costs.

    python benchmarks/age_mesh.py

One layer under white noise, dt = 0.5 ms. The error is relative: mean absolute difference of the outputs over their mean
absolute value. Costs are ratios of run times, exact over graded, of runs that alternate in one process.
"""

import argparse
import statistics
import time

import jax
import numpy as np

import ratelike as rl

NEURONS = {
    "default": rl.SRM0(),
    "long memory": rl.SRM0(
        refractory=rl.ExponentialRefractory(3.0, 50e-3, dead_time=2e-3, memory=0.25)
    ),
    "short memory": rl.SRM0(
        refractory=rl.ExponentialRefractory(8.0, 8e-3, dead_time=1e-3, memory=0.05)
    ),
    "long dead time": rl.SRM0(
        refractory=rl.ExponentialRefractory(2.0, 20e-3, dead_time=8e-3, memory=0.1)
    ),
    "LIF": rl.LIF(),
}


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tolerances", type=float, nargs="*", default=[1e-2, 1e-3, 1e-4]
    )
    parser.add_argument("--neurons", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--burn-in", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    grid = rl.TimeGrid(0.5e-3, options.steps)
    print("neuron,tolerance,bins,exact bins,relative error,exact / graded time")
    for name, neuron in NEURONS.items():
        network = rl.relay_network(
            neuron,
            num_neurons=options.neurons,
            num_latents=10,
            depth=1,
            key=jax.random.key(0),
        )
        drive = rl.WienerDrive(10, tau_m=10e-3, key=jax.random.key(1))
        increments = drive.increments(grid)

        def run(mesh, network=network, increments=increments):
            dynamics = rl.GeneralisedRate(rl.AgeShift(mesh))
            began = time.perf_counter()
            outputs = rl.simulate(network, increments, grid, dynamics).outputs
            outputs = np.asarray(outputs)[options.burn_in :]
            return outputs, time.perf_counter() - began

        exact, _ = run(None)
        for tolerance in options.tolerances:
            mesh = rl.AgeMesh.graded(neuron, tolerance)
            memory = round(neuron.memory / grid.dt)
            bins = mesh.schedule_of(neuron, grid.dt).num_bins
            outputs, _ = run(mesh)
            error = np.abs(outputs - exact).mean() / np.abs(exact).mean()
            pairs = [(run(None)[1], run(mesh)[1]) for _ in range(options.repeats)]
            gain = statistics.median(slow / fast for slow, fast in pairs)
            print(
                f"{name},{tolerance:g},{bins},{memory + 1},{error:.1e},{gain:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
