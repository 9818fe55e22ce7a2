"""The error of the time step, apart from that of finite size.

    python benchmarks/time_step.py

The generalised rate network has no statistical error: on one Brownian path, its outputs at dt less those at a fine step
are the time-step error. Given are, for each gain and neuron, the mean absolute error of the outputs in units of their
standard deviation, and the relative error of the mean rate of the first layer, both after 0.2 s.
"""

import argparse

import jax
import numpy as np

import ratelike as rl

NEURONS = {
    "SRM0": rl.SRM0(),
    "LIF": rl.LIF(),
    "SRM0, sigmoid escape": rl.SRM0(escape=rl.SigmoidEscape()),
}
STEPS = (2e-3, 1e-3, 0.5e-3, 0.25e-3)
BURN_IN = 0.2  # s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="neurons per layer")
    parser.add_argument("--depth", type=int, default=3, help="layers")
    parser.add_argument("--duration", type=float, default=0.6, help="s, with burn-in")
    parser.add_argument("--finest", type=float, default=0.0625, help="ms")
    options = parser.parse_args()
    steps = [f"{1e3 * dt:g} ms" for dt in STEPS]
    print("| gain | neuron | " + " | ".join(f"outputs {s}" for s in steps), end="")
    print(" | " + " | ".join(f"rate {s}" for s in steps) + " |")
    print("|---" * (2 + 2 * len(STEPS)) + "|")
    for gain in (1.0, 2.0):
        for name, neuron in NEURONS.items():
            errors, biases = study(neuron, gain, options)
            cells = [f"{e:.4f}" for e in errors] + [f"{100 * b:+.2f}%" for b in biases]
            print(f"| {gain:g} | {name} | " + " | ".join(cells) + " |", flush=True)


def study(neuron: rl.extend.AbstractNeuron, gain: float, options: argparse.Namespace):
    """Errors of the outputs and of the first layer's rate at each step."""
    network = rl.relay_network(
        neuron,
        num_neurons=options.size,
        num_latents=10,
        depth=options.depth,
        gain=gain,
        key=jax.random.key(0),
    )
    drive = rl.WienerDrive(10, tau_m=10e-3, key=jax.random.key(1))

    def run(dt: float) -> tuple[np.ndarray, float]:
        """Outputs every 2 ms, and the rate."""
        grid = rl.TimeGrid(dt, round(options.duration / dt))
        result = rl.simulate(network, drive, grid, rl.GeneralisedRate())
        every, burnt = round(STEPS[0] / dt), round(BURN_IN / dt)
        outputs = np.asarray(result.outputs)[burnt:][every - 1 :: every]
        return outputs, float(np.asarray(result.rates)[0, burnt:].mean())

    fine, rate = run(1e-3 * options.finest)
    runs = [run(dt) for dt in STEPS]
    errors = [np.abs(outputs - fine).mean() / fine.std() for outputs, _ in runs]
    return errors, [each / rate - 1.0 for _, each in runs]


if __name__ == "__main__":
    main()
