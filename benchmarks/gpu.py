"""What a GPU does: the job B1 up to ten million neurons, the sweep, the gradient, and whether it computes the same.

    python benchmarks/gpu.py                       # less than ten minutes on one H100 or H200; prints tables to paste
    python benchmarks/gpu.py --parts b1 --neurons 10000 100000 --dynamics spiking

B1 is 3 layers of N SRM0 neurons, 10 latents, steps of 0.5 ms, one trial, outputs only, connections streamed. Its rates
are in neuron-steps per second, 3 N steps / run time, the best of several runs; compile time apart. `of memory` is the
share of the time that the device's memory takes, at the bandwidth of a copy measured here, if all that a step needs is
read and written once in each step (`bytes_of_a_step`): a program that keeps it in registers can be above 100%. Large
sizes run fewer steps, so that all of them fit into the time; what does not is left out, and said.
"""

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import jax
import jax.numpy as jnp
import numpy as np
from b1 import dynamics_named, job, times

import ratelike as rl

LATENTS, DEPTH, DT = 10, 3, 0.5e-3
PARTS = "agreement", "b1", "sweep", "gradient"
NEURONS = [1000, 10_000, 100_000, 1_000_000, 10_000_000]
STEPS = 2000
# Neuron-steps of one layer that a run may have; with exact ages a tenth of it.
LARGEST_RUN = 2e9


def bytes_of_a_step(name: str) -> float:
    """What one neuron's step reads and writes in float32 if nothing stays in registers from step to step."""
    # Its current and its activity, written and read, and its potential.
    coded = 4 * 4 + 2 * 4
    ages = round(rl.SRM0().memory / DT)
    # Masses, and on the graded mesh upper fractions of 16 bins.
    state = {"spiking": 2 * 4, "exact": 2 * 4 * ages, "graded": 2 * 4 * 2 * 16}
    return coded + state.get(name, 0)


def steps_for(name: str, neurons: int, steps: int) -> int:
    largest = LARGEST_RUN / (10 if name == "exact" else 1)
    return int(min(steps, max(largest / neurons, 20)))


# As b1.py calls them.
NAMES = {"exact": "generalised"}


def b1(name: str, neurons: int, steps: int) -> Callable[[], jax.Array]:
    """Compiled; a call runs it."""
    return job(NAMES.get(name, name), neurons, steps, mesh=None, latents=LATENTS)


def gradient(name: str, neurons: int, steps: int) -> dict[str, Callable]:
    """A loss of the outputs of one stored network of one layer, and its derivative by all connections."""
    grid = rl.TimeGrid(1e-3, steps)
    network = rl.relay_network(
        rl.SRM0(), num_neurons=neurons, num_latents=4, depth=1, key=jax.random.key(0)
    )
    increments = rl.WienerDrive(4, key=jax.random.key(1)).increments(grid)

    dynamics = dynamics_named(NAMES.get(name, "graded"))

    def loss(network):
        if name == "variance":
            key, target = jax.random.key(3), jnp.zeros((steps, 4))
            return rl.expected_spiking_loss(
                network, increments, grid, target, num_probes=2, key=key
            )
        outputs = rl.simulate(network, increments, grid, dynamics).outputs
        return jnp.mean(outputs**2)

    programs = {"forward": loss, "gradient": jax.grad(loss)}
    compiled = {
        kind: jax.jit(function).lower(network).compile()
        for kind, function in programs.items()
    }
    return {
        kind: functools.partial(lambda c: jax.block_until_ready(c(network)), c)
        for kind, c in compiled.items()
    }


def copy_bandwidth() -> float:
    """Bytes per second, read and written, of a copy much larger than the cache."""
    source = jnp.ones(2**28 if jax.default_backend() == "gpu" else 2**24)
    copy = jax.jit(lambda x: x + 1.0)
    copy(source).block_until_ready()
    best = min(times(lambda: copy(source).block_until_ready(), 5))
    return 2 * source.nbytes / best


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


class Clock:
    """The time that is left; what does not fit is left out."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.left_out: list[str] = []

    def allows(self, what: str, seconds: float = 20.0) -> bool:
        fits = time.monotonic() + seconds < self.end
        if not fits:
            self.left_out.append(what)
        return fits


def part_b1(options: argparse.Namespace, clock: Clock, pool: ThreadPoolExecutor):
    bandwidth = copy_bandwidth()
    print(f"Copy: {bandwidth / 1e12:.2f} TB/s, read and written.\n")
    jobs: dict[tuple[str, int], Future] = {
        (name, neurons): pool.submit(
            timed, b1, name, neurons, steps_for(name, neurons, options.steps)
        )
        for neurons in options.neurons
        for name in options.dynamics
    }
    wait(jobs.values())  # nothing else runs while something is timed
    columns = ["dynamics", "N", "steps", "compile (s)", "run (ms)", "median (ms)"]
    columns += ["neuron-steps/s", "of memory"]
    rows = []
    for (name, neurons), future in jobs.items():
        if not clock.allows(f"B1 {name} {neurons}"):
            continue
        steps = steps_for(name, neurons, options.steps)
        try:
            compiling, run = future.result()
            run()
            found = times(run, options.repeats)
        except jax.errors.JaxRuntimeError as error:
            clock.left_out.append(f"B1 {name} {neurons}: {str(error)[:200]}")
            continue
        best, median = min(found), statistics.median(found)
        rate = DEPTH * neurons * steps / best
        share = bytes_of_a_step(name) * rate / bandwidth
        rows.append([name, f"{neurons}", f"{steps}", f"{compiling:.1f}"])
        rows[-1] += [f"{1e3 * best:.2f}", f"{1e3 * median:.2f}"]
        rows[-1] += [f"{rate:.2e}", f"{share:.1%}"]
        print("  ", *rows[-1], file=sys.stderr, flush=True)
    print_table(columns, rows)


def timed(make: Callable, *arguments) -> tuple[float, Callable]:
    began = time.perf_counter()
    made = make(*arguments)
    return time.perf_counter() - began, made


def part_agreement(options: argparse.Namespace, clock: Clock, pool: ThreadPoolExecutor):
    """The same outputs as the CPU of the same machine, N = 1000 and 500 steps."""
    rows = []

    def outputs(name: str, device: jax.Device) -> np.ndarray:
        with jax.default_device(device):
            return np.asarray(b1(name, 1000, 500)(), float)

    cpu = jax.devices("cpu")[0]
    pairs = {
        name: [pool.submit(outputs, name, device) for device in (jax.devices()[0], cpu)]
        for name in options.dynamics
    }
    for name, both in pairs.items():
        here, there = (future.result() for future in both)
        difference = np.abs(here - there)
        scale = np.std(there)
        rows.append([name, f"{difference.max() / scale:.1e}"])
        rows[-1] += [f"{difference.mean() / scale:.1e}"]
    print_table(["dynamics", "largest difference / std", "mean difference / std"], rows)


def part_gradient(options: argparse.Namespace, clock: Clock, pool: ThreadPoolExecutor):
    sizes = [(100, 1000), (1024, 500), (4096, 2000), (65536, 500)]
    jobs = {
        (name, *size): pool.submit(timed, gradient, name, *size)
        for size in sizes
        for name in options.losses
        if not (name == "variance" and size[0] > 4096)
    }
    wait(jobs.values())
    rows = []
    for (name, neurons, steps), future in jobs.items():
        if not clock.allows(f"gradient {name} {neurons}"):
            continue
        compiling, runs = future.result()
        best = {}
        for kind, run in runs.items():
            run()
            best[kind] = min(times(run, options.repeats))
        ratio = best["gradient"] / best["forward"]
        rows.append([name, f"{neurons}", f"{steps}", f"{compiling:.1f}"])
        rows[-1] += [f"{1e3 * best[kind]:.1f}" for kind in ("forward", "gradient")]
        rows[-1] += [f"{ratio:.2f}"]
        print("  ", *rows[-1], file=sys.stderr, flush=True)
    columns = ["loss", "N", "steps", "compile (s)", "forward (ms)", "gradient (ms)"]
    print_table([*columns, "gradient / forward"], rows)


def part_sweep(options: argparse.Namespace, clock: Clock, pool: ThreadPoolExecutor):
    """The convergence study of the figure: wall time, compiling included, and slopes."""
    rows = []
    for largest in (16384, 131072):
        if not clock.allows(f"sweep to {largest}", 50):
            continue
        sizes = [2**k for k in range(6, largest.bit_length())]
        began = time.perf_counter()
        study = rl.convergence(
            functools.partial(relay, num_latents=LATENTS),
            sizes,
            rl.TimeGrid(DT, 2400),
            num_trials=2,
            key=jax.random.key(4),
            burn_in=400,
        )
        seconds = time.perf_counter() - began
        slopes = [
            study.generalised.slope(min_size=1024),
            study.conventional.slope(min_size=1024),
        ]
        rows.append([f"64 to {largest}", f"{seconds:.1f}"])
        rows[-1] += [f"{s.value:.3f} [{s.lower:.3f}, {s.upper:.3f}]" for s in slopes]
        print("  ", *rows[-1], file=sys.stderr, flush=True)
    columns = ["N", "wall time (s)", "slope to generalised", "to conventional"]
    print_table(columns, rows)


def relay(num_neurons: int, key: jax.Array, num_latents: int) -> rl.Network:
    return rl.relay_network(
        rl.SRM0(),
        num_neurons=num_neurons,
        num_latents=num_latents,
        depth=DEPTH,
        key=key,
    )


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--neurons", type=int, nargs="*", default=NEURONS)
    names = ["spiking", "exact", "graded", "conventional"]
    parser.add_argument("--dynamics", nargs="*", choices=names, default=names)
    losses = ["exact", "graded", "variance"]
    parser.add_argument("--losses", nargs="*", choices=losses, default=losses)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=540.0, help="for all of it")
    parser.add_argument("--compilers", type=int, default=8, help="threads")
    options = parser.parse_args()
    clock = Clock(options.seconds)
    device = jax.devices()[0]
    print(f"{device.device_kind}, jax {jax.__version__}\n", flush=True)
    with ThreadPoolExecutor(options.compilers) as pool:
        for part in options.parts:
            began = time.monotonic()
            {
                "b1": part_b1,
                "agreement": part_agreement,
                "gradient": part_gradient,
                "sweep": part_sweep,
            }[part](options, clock, pool)
            print(f"   {part}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        if clock.left_out:
            print("Left out: " + "; ".join(clock.left_out))


if __name__ == "__main__":
    main()
