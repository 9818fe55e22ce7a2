"""The job B1: 3 layers of N SRM0 neurons, 10 latents, 2000 steps of 0.5 ms, one trial, outputs only.

    python benchmarks/b1.py                                  # both cores of a small machine
    python benchmarks/b1.py --devices 1 --neurons 1000 10000
    python benchmarks/b1.py --plain                          # as a script calls `simulate`: in threads, without `jit`
    python benchmarks/b1.py --gradient                       # time and memory of reverse mode, N = 1000

Rates in neuron-steps per second, 3 N steps / run time: the best and the median of several runs; compile time apart. On
a CPU, `--devices` virtual devices share the neurons among cores. `--steps` shortens a run.
"""

import argparse
import csv
import math
import statistics
import sys
import time
from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp

import ratelike as rl

COLUMNS = (
    "dynamics",
    "neurons",
    "steps",
    "devices",
    "compile_s",
    "best_s",
    "median_s",
    "neuron_steps_per_s",
)


def dynamics_named(name: str) -> rl.extend.AbstractDynamics:
    graded = rl.AgeMesh.graded(rl.SRM0())
    return {
        "spiking": rl.Spiking(),
        "generalised": rl.GeneralisedRate(),
        "graded": rl.GeneralisedRate(rl.AgeShift(graded)),
        "conventional": rl.ConventionalRate(),
    }[name]


def job(
    name: str, neurons: int, steps: int, mesh, latents: int = 10, plain: bool = False
) -> Callable[[], jax.Array]:
    """Compiled; a call runs it."""
    grid = rl.TimeGrid(0.5e-3, steps)
    key = jax.random.key(0)
    network = rl.streamed_relay_network(
        rl.SRM0(), num_neurons=neurons, num_latents=latents, depth=3, key=key
    )
    increments = rl.WienerDrive(latents, key=jax.random.key(1)).increments(grid)
    spikes = jax.random.key(2) if name == "spiking" else None
    dynamics = dynamics_named(name)

    def run(network, increments, spikes):
        return rl.simulate(
            network, increments, grid, dynamics, key=spikes, mesh=mesh
        ).outputs

    arguments = network, increments, spikes
    if plain:
        run(*arguments)
        return lambda: jax.block_until_ready(run(*arguments))
    compiled = jax.jit(run).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def gradient(neurons: int, steps: int) -> dict[str, Callable[[], jax.Array]]:
    """The rate network and its derivative by encoders, decoders and biases, of one stored network."""
    grid = rl.TimeGrid(0.5e-3, steps)
    network = rl.relay_network(
        rl.SRM0(), num_neurons=neurons, num_latents=10, depth=3, key=jax.random.key(0)
    )
    increments = rl.WienerDrive(10, key=jax.random.key(1)).increments(grid)

    def loss(network, dynamics):
        outputs = rl.simulate(network, increments, grid, dynamics).outputs
        return jnp.mean(outputs**2)

    ours = rl.GeneralisedRate()
    num_blocks = math.isqrt(steps) // 2 + 1  # as many as our own adjoint keeps
    checkpoints = diffrax.RecursiveCheckpointAdjoint(num_blocks)
    theirs = rl.GeneralisedRate(adjoint=checkpoints)
    slopes = jax.grad(loss)
    programs = {
        name: jax.jit(function, static_argnums=1).lower(network, dynamics).compile()
        for name, function, dynamics in (
            ("forward", loss, ours),
            ("gradient", slopes, ours),
            ("gradient by diffrax", slopes, theirs),
        )
    }
    for name, program in programs.items():
        memory = program.memory_analysis()
        if memory is not None:
            print(f"{name}: {memory.temp_size_in_bytes / 2**20:.1f} MiB temporary")
    return {
        name: lambda program=program: jax.block_until_ready(program(network))
        for name, program in programs.items()
    }


def times(run: Callable[[], jax.Array], repeats: int) -> list[float]:
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return found


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--neurons", type=int, nargs="*", default=[1000, 10_000, 100_000]
    )
    parser.add_argument(
        "--dynamics",
        nargs="*",
        default=["spiking", "generalised", "graded", "conventional"],
    )
    parser.add_argument("--latents", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--devices", type=int, default=2, help="virtual, on a CPU")
    parser.add_argument("--gradient", action="store_true")
    parser.add_argument("--plain", action="store_true", help="no mesh, no jit")
    options = parser.parse_args()
    options.devices = 1 if options.plain else options.devices
    jax.config.update("jax_num_cpu_devices", options.devices)
    mesh = None
    if jax.device_count() > 1:
        mesh = jax.make_mesh((jax.device_count(),), ("neurons",))
    print(jax.devices()[0].device_kind, f"x {jax.device_count()}", file=sys.stderr)
    if options.gradient:
        for steps in (options.steps // 4, options.steps):
            print(f"{steps} steps, N = {options.neurons[0]}")
            runs = gradient(options.neurons[0], steps)
            turns = [
                {name: times(run, 1)[0] for name, run in runs.items()}
                for _ in range(options.repeats)
            ]
            for name in runs:
                ratio = statistics.median(
                    turn[name] / turn["forward"] for turn in turns
                )
                best = min(turn[name] for turn in turns)
                print(f"{name}: {best:.2f} s, {ratio:.2f} times forward")
        return
    table = csv.writer(sys.stdout)
    table.writerow(COLUMNS)
    for name in options.dynamics:
        for neurons in options.neurons:
            began = time.perf_counter()
            run = job(
                name, neurons, options.steps, mesh, options.latents, options.plain
            )
            compiling = time.perf_counter() - began
            found = times(run, options.repeats)
            best, median = min(found), statistics.median(found)
            rate = 3 * neurons * options.steps / best
            row = [name, neurons, options.steps, jax.device_count()]
            table.writerow(
                [
                    *row,
                    f"{compiling:.1f}",
                    f"{best:.3f}",
                    f"{median:.3f}",
                    f"{rate:.3g}",
                ]
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
