"""Time-step error and finite-size error, apart.

    python benchmarks/time_step.py

The generalised rate network is solved on one Brownian path at dt, dt/2, ...: its outputs have no statistical error, so
their difference to those at dt/2 is the time-step error. Beside it stands the error of one spiking network at the same
dt, which `AgeShift` leaves free of time-step error (both sides share it).
"""

import argparse

import jax
import numpy as np

import ratelike as rl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="neurons per layer")
    parser.add_argument("--depth", type=int, default=3, help="layers")
    parser.add_argument("--duration", type=float, default=0.6, help="s, with burn-in")
    options = parser.parse_args()
    network = rl.relay_network(
        rl.SRM0(),
        num_neurons=options.size,
        num_latents=10,
        depth=options.depth,
        key=jax.random.key(0),
    )
    drive = rl.WienerDrive(10, tau_m=10e-3, key=jax.random.key(1))
    coarsest, burn_in = 1e-3, 0.2

    def run(dt: float) -> tuple[np.ndarray, float]:
        """Outputs of the rate network every millisecond, and the finite-size error."""
        grid = rl.TimeGrid(dt, round(options.duration / dt))
        rate = rl.simulate(network, drive, grid, rl.GeneralisedRate()).outputs
        spiking = rl.simulate(
            network, drive, grid, rl.Spiking(), key=jax.random.key(2)
        ).outputs
        error = rl.mean_absolute_error(spiking, rate, burn_in=round(burn_in / dt))
        every = round(coarsest / dt)
        return np.asarray(rate)[every - 1 :: every], float(error)

    steps = coarsest / 2.0 ** np.arange(4)
    runs = [run(float(dt)) for dt in steps]
    print("dt (ms)  time-step error |y(dt) - y(dt/2)|  finite-size error at dt")
    burnt = round(burn_in / coarsest)
    for dt, (rate, error), (finer, _) in zip(steps, runs, runs[1:], strict=False):
        apart = np.abs(rate - finer)[burnt:].mean()
        print(f"{1e3 * dt:7.4f}  {apart:35.4f}  {error:23.4f}")


if __name__ == "__main__":
    main()
