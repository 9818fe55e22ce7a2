"""Peak memory of a run of the job B1, over network sizes: streamed connections, and stored ones for comparison.

    python benchmarks/memory.py
    python benchmarks/memory.py --neurons 100000 1000000 --stored
    python benchmarks/memory.py --neurons 10000 --steps 100 1000 10000

Each case runs in a process of its own, of which the largest resident set counts; the row with 64 neurons is what Python,
JAX and the compiler take.
"""

import argparse
import itertools
import resource
import subprocess
import sys


def child(neurons: int, steps: int, stored: bool) -> None:
    import jax

    import ratelike as rl

    make = rl.relay_network if stored else rl.streamed_relay_network
    network = make(
        rl.SRM0(), num_neurons=neurons, num_latents=10, depth=3, key=jax.random.key(0)
    )
    grid = rl.TimeGrid(0.5e-3, steps)
    increments = rl.WienerDrive(10, key=jax.random.key(1)).increments(grid)
    run = rl.simulate(network, increments, grid, rl.Spiking(), key=jax.random.key(2))
    run.outputs.block_until_ready()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # KiB on Linux


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--neurons", type=int, nargs="*", default=[64, 100_000, 1_000_000, 10_000_000]
    )
    parser.add_argument("--steps", type=int, nargs="*", default=[100])
    parser.add_argument("--stored", action="store_true", help="connections in memory")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.neurons[0], options.steps[0], options.stored)
        return
    print("neurons per layer,steps,peak MiB")
    for neurons, steps in itertools.product(options.neurons, options.steps):
        case = ["--neurons", str(neurons), "--steps", str(steps)]
        command = [sys.executable, __file__, "--child", *case]
        if options.stored:
            command.append("--stored")
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{neurons},{steps},{float(done.stdout):.0f}", flush=True)


if __name__ == "__main__":
    main()
