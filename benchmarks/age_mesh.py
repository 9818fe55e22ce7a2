"""Meshes of ages against the exact density: bins, error of the outputs, and what they cost.

    python benchmarks/age_mesh.py

One layer at dt = 0.5 ms. The error is relative: mean absolute difference of the outputs over their mean absolute value.
`graded` looks at the neuron alone, `fitted` at a sample of the network and its input. Costs are ratios of run times,
exact over fitted, of runs that alternate in one process.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl

DT = 0.5e-3


def kernel(*numbers, **named) -> rl.SRM0:
    return rl.SRM0(refractory=rl.ExponentialRefractory(*numbers, **named))


TABLE = rl.TableRefractory(-10.0 * np.hanning(41), 2e-3, 2e-3)
# Neuron, input, gain of the encoders.
CASES = {
    "default": (rl.SRM0(), "noise", 1.0),
    "long memory": (kernel(3.0, 50e-3, memory=0.25), "noise", 1.0),
    "short memory": (kernel(8.0, 8e-3, 1e-3, 0.05), "noise", 1.0),
    "long dead time": (kernel(2.0, 20e-3, 8e-3), "noise", 1.0),
    "LIF": (rl.LIF(), "noise", 1.0),
    "amplitude 15": (kernel(15.0), "steps", 1.0),
    "LIF, steps": (rl.LIF(), "steps", 1.0),
    "table, steps": (rl.SRM0(refractory=TABLE), "steps", 1.0),
    "alpha, amplitude 12": (
        rl.SRM0(refractory=rl.AlphaRefractory(12.0, 30e-3, memory=0.3)),
        "noise",
        3.0,
    ),
    "amplitude 20, tau 10 ms": (kernel(20.0, 10e-3), "noise", 3.0),
    "LIF, gain 3": (rl.LIF(), "noise", 3.0),
}


def increments(kind: str, steps: int) -> jax.Array:
    """White noise, or steps between +10 and -10 every 50 ms."""
    if kind == "noise":
        drive = rl.WienerDrive(4, tau_m=10e-3, key=jax.random.key(1))
        return drive.increments(rl.TimeGrid(DT, steps))
    signal = 10.0 * np.where(np.arange(steps) * DT % 0.1 < 0.05, 1.0, -1.0)
    return jnp.asarray(DT * np.outer(signal, np.full(4, 0.5)), jnp.float32)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--neurons", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print("| neuron | input | gain | exact bins | graded: bins, error | ", end="")
    print("fitted: bins, error | exact / fitted time |\n|---|---|---|---|---|---|---|")
    for name, case in CASES.items():
        print(row(name, *case, options), flush=True)


def row(name: str, neuron, kind: str, gain: float, options) -> str:
    grid = rl.TimeGrid(DT, options.steps)
    network = rl.relay_network(
        neuron,
        num_neurons=options.neurons,
        num_latents=4,
        depth=1,
        gain=gain,
        key=jax.random.key(0),
    )
    dX = increments(kind, options.steps)

    def run(mesh):
        dynamics = rl.GeneralisedRate(rl.AgeShift(mesh))
        began = time.perf_counter()
        outputs = np.asarray(rl.simulate(network, dX, grid, dynamics).outputs)
        return outputs, time.perf_counter() - began

    uniform = rl.AgeMesh.uniform()
    exact, _ = run(uniform)

    def described(mesh) -> str:
        error = np.abs(run(mesh)[0] - exact).mean() / np.abs(exact).mean()
        return f"{mesh.schedule_of(neuron, DT).num_bins}, {error:.1e}"

    fitted = rl.fitted_age_mesh(network, dX, grid, options.tolerance)
    graded = described(rl.AgeMesh.graded(neuron, options.tolerance))
    both = described(fitted)
    pairs = [(run(uniform)[1], run(fitted)[1]) for _ in range(options.repeats)]
    ratio = statistics.median(slow / fast for slow, fast in pairs)
    bins = uniform.schedule_of(neuron, DT).num_bins
    return f"| {name} | {kind} | {gain:g} | {bins} | {graded} | {both} | {ratio:.1f} |"


if __name__ == "__main__":
    main()
