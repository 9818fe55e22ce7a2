"""Error against N over four decades, streamed: is the slope still -1/2 at a million neurons per layer?

    python benchmarks/scale.py                        # N = 100 ... 10^6
    python benchmarks/scale.py --sizes 100 1000 10000 # a first look

Relay networks of 3 layers with 10 latents, dt = 0.5 ms; the generalised rate on a graded mesh of ages. A resumable sweep:
finished cells are files in `--output`, and running the command again goes on.
"""

import argparse

import jax
import numpy as np

import ratelike as rl

DT, BURN_IN = 0.5e-3, 400


def make_network(*, num_neurons: int, key: jax.Array) -> rl.Network:
    return rl.streamed_relay_network(
        rl.SRM0(), num_neurons=num_neurons, num_latents=10, depth=3, key=key
    )


def errors(network: rl.Network, grid: rl.TimeGrid, key: jax.Array) -> dict:
    drive_key, spike_key = jax.random.split(key)
    tau_m = network.layers[0].neuron.tau_m
    increments = rl.WienerDrive(10, tau_m=tau_m, key=drive_key).increments(grid)
    mesh = jax.make_mesh((jax.device_count(),), ("neurons",))
    graded = rl.AgeShift(rl.AgeMesh.graded(network.layers[0].neuron))

    def outputs(dynamics, key=None):
        run = rl.simulate(network, increments, grid, dynamics, key=key, mesh=mesh)
        return run.outputs

    spiking = outputs(rl.Spiking(), spike_key)
    return {
        name: rl.mean_absolute_error(spiking, outputs(dynamics), burn_in=BURN_IN)
        for name, dynamics in (
            ("generalised", rl.GeneralisedRate(graded)),
            ("conventional", rl.ConventionalRate()),
        )
    }


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[10**k for k in range(2, 7)]
    )
    parser.add_argument("--trials", type=int, default=1, help="at the largest N")
    parser.add_argument("--steps", type=int, default=1000, help="after the burn-in")
    parser.add_argument("--devices", type=int, default=2, help="virtual, on a CPU")
    parser.add_argument("--output", default="scale", help="folder of finished cells")
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", options.devices)
    largest = max(options.sizes)
    curves: dict[str, list] = {"generalised": [], "conventional": []}
    for size in options.sizes:
        # More trials where they are cheap, up to 16.
        trials = options.trials * min(16, max(1, round((largest / size) ** 0.5)))
        result = rl.sweep(
            make_network,
            rl.TimeGrid(DT, BURN_IN + options.steps),
            axes={"num_neurons": [size]},
            num_trials=trials,
            key=jax.random.key(0),
            folder=f"{options.output}/{size}",
            measure=errors,
            execution=rl.study.SweepExecution(
                devices=jax.devices()[:1],  # each cell uses all of them by itself
                progress=rl.study.Progress(),
            ),
        )
        for name, curve in curves.items():
            curve.append(np.concatenate([cell.values[name] for cell in result.cells]))
        row = [f"{np.mean(curve[-1]):.5f}" for curve in curves.values()]
        print(size, trials, *row, flush=True)
    for name, curve in curves.items():
        fit = rl.study.SizeCurve(tuple(options.sizes), tuple(curve)).slope()
        print(f"{name}: slope {fit.value:.3f} [{fit.lower:.3f}, {fit.upper:.3f}]")


if __name__ == "__main__":
    main()
