"""The library against hand-written C, on one network, in turn: how far from the machine's limit.

    python benchmarks/limit/run.py                           # needs gcc, and AVX2
    python benchmarks/limit/run.py --dynamics spiking --neurons 100000
    python benchmarks/limit/run.py --plain                   # `rl.simulate`, nothing configured

The job is B1 (`benchmarks/b1.py`): 3 layers of N SRM0 neurons, 10 latents, 0.5 ms a step. Compared are medians of the
time of one run, and of the ratio within each turn. The outputs are the check that both do the same: of densities their
relative difference, of spikes both errors to the generalised rate network.
"""

import argparse
import functools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl

HERE = Path(__file__).parent
LATENTS, DEPTH, DT = 10, 3, 0.5e-3


def export(network: rl.Network, increments: jax.Array, file: Path) -> None:
    """What `b1.c` reads."""
    neuron = network.layers[0].neuron
    assert isinstance(neuron, rl.SRM0)
    escape, kernel = neuron.escape, neuron.refractory
    assert isinstance(escape, rl.ExponentialEscape)
    assert isinstance(kernel, rl.ExponentialRefractory)
    sizes = (network.layers[0].num_neurons, network.depth, len(increments))
    numbers = (DT, neuron.tau_m, escape.rate, kernel.amplitude, kernel.tau)
    arrays = [
        np.stack([np.asarray(layer.encoder) for layer in network.layers]),
        np.stack([np.asarray(layer.decoder) for layer in network.layers]),
        np.stack([np.asarray(layer.bias) for layer in network.layers]),
        np.asarray(increments),
    ]
    with file.open("wb") as out:
        out.write(np.asarray(sizes, "<i4").tobytes())
        out.write(np.asarray(numbers, "<f4").tobytes())
        for array in arrays:
            out.write(array.astype("<f4").tobytes())


def race(folder: Path, name: str, neurons: int, options) -> dict[str, str]:
    grid = rl.TimeGrid(DT, options.steps)
    network = rl.relay_network(
        rl.SRM0(),
        num_neurons=neurons,
        num_latents=LATENTS,
        depth=DEPTH,
        key=jax.random.key(0),
    )
    increments = rl.WienerDrive(LATENTS, key=jax.random.key(1)).increments(grid)
    mesh = None
    if not options.plain:
        mesh = jax.make_mesh((jax.device_count(),), ("neurons",))

    def simulation(dynamics, key=None):
        def simulate(network):
            return rl.simulate(
                network, increments, grid, dynamics, key=key, mesh=mesh
            ).outputs

        return simulate if options.plain else jax.jit(simulate)

    rate = simulation(rl.GeneralisedRate())
    ours = rate if name == "density" else simulation(rl.Spiking(), jax.random.key(2))
    outputs = ours(network)
    file = folder / "network"
    export(network, increments, file)
    theirs = subprocess.Popen(
        [folder / "b1", file, name, str(options.threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert theirs.stdin is not None
    assert theirs.stdout is not None
    turns = []
    for _ in range(options.repeats):
        theirs.stdin.write("\n")
        theirs.stdin.flush()
        hand_written = float(theirs.stdout.readline())
        began = time.perf_counter()
        jax.block_until_ready(ours(network))
        turns.append((hand_written, time.perf_counter() - began))
    theirs.stdin.close()
    if theirs.wait() != 0:
        sys.exit("b1 failed")
    handed_on = np.fromfile(f"{file}.out", "<f4").reshape(increments.shape)
    their_outputs = rl.membrane_traces(
        jnp.asarray(handed_on), network.output_tau_m, grid.dt
    )
    difference = functools.partial(rl.mean_absolute_error, burn_in=options.steps // 4)
    if name == "density":
        relative = difference(their_outputs, outputs) / jnp.abs(outputs).mean()
        check = f"{relative:.1e}"
    else:
        expected = rate(network)
        errors = [difference(each, expected) for each in (their_outputs, outputs)]
        check = " / ".join(f"{error:.4f}" for error in errors)
    per_run = DEPTH * neurons * options.steps * (201 if name == "density" else 1)
    c, library = (
        per_run / statistics.median(times) for times in zip(*turns, strict=True)
    )
    ratio = statistics.median(c_time / our_time for c_time, our_time in turns)
    return {
        "job": name,
        "N": str(neurons),
        "C": f"{c:.3g}",
        "ratelike": f"{library:.3g}",
        "of the limit": f"{100 * ratio:.0f}%",
        "difference": check,
    }


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dynamics", nargs="*", default=["spiking", "density"])
    parser.add_argument("--neurons", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="and virtual devices")
    parser.add_argument(
        "--plain", action="store_true", help="without a mesh, jit or devices"
    )
    options = parser.parse_args()
    if not options.plain:
        jax.config.update("jax_num_cpu_devices", options.threads)
    print(
        "Neuron-steps (or age-bin-steps) per second, median of the turns",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flags = ["-O3", "-march=native", "-ffast-math", "-pthread"]
        command = ["gcc", *flags, HERE / "b1.c", "-o", folder / "b1", "-lm"]
        subprocess.run(command, check=True)
        for dynamics in options.dynamics:
            for neurons in options.neurons:
                row = race(folder, dynamics, neurons, options)
                cells = [f"{key}: {value}" for key, value in row.items()]
                print(", ".join(cells), flush=True)


if __name__ == "__main__":
    main()
