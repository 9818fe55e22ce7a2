"""Predicted against measured finite-size error, over network sizes.

    python benchmarks/expected_error.py

For each depth and size, networks of fresh connectivity and input are drawn; on each, `rl.expected_error` predicts the
error without a spike, with linear and with nonlinear layers, and spiking trials measure it. All are averaged over
networks. The standard error is that of predicted / measured over networks.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl

LATENTS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, nargs="+", default=[1, 3], help="layers")
    parser.add_argument("--min-size", type=int, default=256, help="neurons per layer")
    parser.add_argument("--max-size", type=int, default=16384)
    parser.add_argument("--networks", type=int, default=4, help="at the largest size")
    parser.add_argument("--trials", type=int, default=4, help="of spikes per network")
    parser.add_argument("--probes", type=int, default=4, help="per network")
    parser.add_argument("--duration", type=float, default=1.0, help="s, with burn-in")
    parser.add_argument("--burn-in", type=float, default=0.2, help="s")
    options = parser.parse_args()
    grid = rl.TimeGrid(0.5e-3, round(options.duration / 0.5e-3))
    burn_in = round(options.burn_in / grid.dt)

    def compare(size: int, depth: int, key: jax.Array) -> tuple[float, float, float]:
        keys = jax.random.split(key, 4)
        network = rl.relay_network(
            rl.SRM0(),
            num_neurons=size,
            num_latents=LATENTS,
            depth=depth,
            key=keys[0],
        )
        drive = rl.WienerDrive(LATENTS, tau_m=10e-3, key=keys[1]).increments(grid)
        rate = rl.simulate(network, drive, grid, rl.GeneralisedRate()).outputs

        def trial(key):
            out = rl.simulate(network, drive, grid, rl.Spiking(), key=key).outputs
            return rl.mean_absolute_error(out, rate, burn_in=burn_in)

        def predicted(response):
            return rl.expected_error(
                network,
                drive,
                grid,
                burn_in=burn_in,
                num_probes=options.probes,
                key=keys[3],
                response=response,
            )

        trials = jax.random.split(keys[2], options.trials)
        measured = float(jnp.mean(jnp.stack([*map(trial, trials)])))
        linear = float(predicted(rl.LinearResponse()))
        if depth == 1:  # there is nothing that a layer could answer
            return measured, linear, linear
        return measured, linear, float(predicted(rl.NonlinearResponse()))

    def ratio(predicted: np.ndarray, measured: np.ndarray) -> str:
        ratio = predicted.mean() / measured.mean()
        residuals = predicted - ratio * measured
        spread = residuals.std(ddof=1) / np.sqrt(len(measured)) / measured.mean()
        return f"{ratio:7.3f} ({spread:.3f})"

    print("depth      N  networks  measured  linear / measured  nonlinear / measured")
    for depth in options.depth:
        size = options.min_size
        while size <= options.max_size:
            # Smaller networks are cheaper and scatter more: they get more networks, up to 8 times as many.
            count = options.networks * min(8, options.max_size // size)
            keys = jax.random.split(jax.random.key(size + depth), count)
            rows = np.array([compare(size, depth, key) for key in keys])
            measured, linear, nonlinear = rows.T
            print(
                f"{depth:5d} {size:6d} {count:9d} {measured.mean():9.4f} "
                f"{ratio(linear, measured):>18s} {ratio(nonlinear, measured):>21s}",
                flush=True,
            )
            size *= 4


if __name__ == "__main__":
    main()
