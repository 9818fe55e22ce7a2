"""Time to trace and compile `simulate`, which hardly depends on the numbers of neurons and of layers that are alike.

python benchmarks/compile_time.py
"""

import argparse
import time

import jax

import ratelike as rl


def seconds(
    name: str, dynamics: rl.extend.AbstractDynamics, depth: int, neurons: int
) -> str:
    grid = rl.TimeGrid(0.5e-3, 200)
    network = rl.relay_network(
        rl.SRM0(),
        num_neurons=neurons,
        num_latents=10,
        depth=depth,
        key=jax.random.key(0),
    )
    increments = rl.WienerDrive(10, key=jax.random.key(1)).increments(grid)
    key = jax.random.key(2) if dynamics.needs_key else None

    @jax.jit
    def run(network, increments, key):
        return rl.simulate(network, increments, grid, dynamics, key=key).outputs

    jax.clear_caches()
    began = time.perf_counter()
    lowered = run.lower(network, increments, key)
    traced = time.perf_counter()
    lowered.compile()
    compiled = time.perf_counter()
    return f"{name},{depth},{neurons},{traced - began:.2f},{compiled - traced:.2f}"


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, nargs="*", default=[1, 3, 10])
    parser.add_argument("--neurons", type=int, nargs="*", default=[1000, 100_000])
    options = parser.parse_args()
    graded = rl.GeneralisedRate(rl.AgeShift(rl.AgeMesh.graded(rl.SRM0())))
    print("dynamics,layers,neurons,trace_s,compile_s")
    for depth in options.depth:
        for neurons in options.neurons:
            for name, dynamics in (
                ("spiking", rl.Spiking()),
                ("generalised", rl.GeneralisedRate()),
                ("graded", graded),
                ("conventional", rl.ConventionalRate()),
            ):
                print(seconds(name, dynamics, depth, neurons), flush=True)


if __name__ == "__main__":
    main()
