"""Every neuron type in the layered network: error against N, and what it costs beside SRM0.

    python benchmarks/neurons.py            # slopes, a few minutes
    python benchmarks/neurons.py --costs    # run-time ratios

Relay networks with 10 latents and steps of 1 ms. The slope of log error against log N over five sizes N = 256, ...,
4096, of which the smaller ones get more trials (`convergence`), has the standard error 0.32 c / sqrt(trials), c being
the relative standard deviation of the error of one trial. That is 0.04 to 0.06 here (last column but one): three trials
at the largest N give 0.01, a fifth of the tolerance of 0.05.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl

SIZES = (256, 512, 1024, 2048, 4096)
Make = Callable[[int], rl.extend.AbstractNeuron]


def srm0(escape=None, refractory=None) -> Make:
    return lambda size: rl.SRM0(escape=escape, refractory=refractory)


def diverse(size: int) -> rl.SRM0:
    """Every parameter drawn anew for each neuron, the first ones the same at every size."""

    def draw(low, high, seed):
        return np.random.default_rng(seed).uniform(low, high, size)

    return rl.SRM0(
        draw(5e-3, 15e-3, 0),
        rl.ExponentialEscape(draw(5.0, 15.0, 1), draw(-0.3, 0.3, 2), draw(0.8, 1.2, 3)),
        rl.ExponentialRefractory(
            draw(3.0, 7.0, 4), draw(10e-3, 30e-3, 5), np.floor(draw(1, 4, 6)) * 1e-3
        ),
    )


def mixture(size: int) -> rl.Mixture:
    types = [rl.SRM0(), rl.LIF(), rl.SRM0(refractory=rl.NoRefractory())]
    return rl.Mixture(types, np.arange(size) % 3)


# Exponential decay that was tabulated every 2 ms, with a rebound.
TABLE = -5.0 * np.exp(-np.arange(51) / 10.0) + np.exp(
    -(((np.arange(51) - 20) / 8.0) ** 2)
)
TWO = [rl.ExponentialRefractory(4.0, 10e-3), rl.ExponentialRefractory(1.0, 50e-3)]
TYPES: dict[str, Make] = {
    "SRM0": srm0(),
    "SRM0, memoryless": srm0(refractory=rl.NoRefractory()),
    "SRM0, sigmoid": srm0(rl.SigmoidEscape()),
    "SRM0, softplus": srm0(rl.SoftplusEscape()),
    "SRM0, power law": srm0(refractory=rl.PowerLawRefractory()),
    "SRM0, alpha": srm0(refractory=rl.AlphaRefractory()),
    "SRM0, table": srm0(refractory=rl.TableRefractory(TABLE, 2e-3, 2e-3)),
    "SRM0, sum": srm0(refractory=rl.SumRefractory(TWO)),
    "SRM0, diverse": diverse,
    "LIF": lambda size: rl.LIF(),
    "LIF, sigmoid": lambda size: rl.LIF(escape=rl.SigmoidEscape()),
    "mixture": mixture,
}


def single(network: rl.Network) -> rl.Network:
    return jax.tree.map(lambda x: x.astype(jnp.float32), network)


def slopes(make: Make, sizes: list[int], trials: int, depth: int, steps: int) -> str:
    def make_network(num_neurons, key):
        return single(
            rl.relay_network(
                make(num_neurons),
                num_neurons=num_neurons,
                num_latents=10,
                depth=depth,
                key=key,
            )
        )

    burn_in = steps // 5
    study = rl.convergence(
        make_network,
        sizes,
        rl.TimeGrid(1e-3, steps),
        num_trials=trials,
        key=jax.random.key(0),
        burn_in=burn_in,
    )

    def slope(curve: rl.study.SizeCurve, smallest: int) -> str:
        fit = curve.slope(smallest)
        return f"{fit.value:.3f} [{fit.lower:.3f}, {fit.upper:.3f}]"

    generalised, conventional = study.generalised, study.conventional
    spread = np.std(generalised.values[2]) / generalised.mean()[2]
    # What remains of the error to the conventional rate without the noise of spikes, if the two add in quadrature.
    left = np.sqrt(np.maximum(conventional.mean() ** 2 - generalised.mean() ** 2, 0.0))
    return (
        f"{slope(generalised, sizes[0])} | {slope(generalised, 1024)} | "
        f"{slope(conventional, 1024)} | {generalised.mean()[-1]:.4f} | "
        f"{conventional.mean()[-1]:.4f} | "
        f"{' '.join(f'{each:.3f}' for each in left)} | {study.rates.mean()[-1]:.1f} | {spread:.2f}"
    )


def run_times(dynamics: rl.extend.AbstractDynamics, repeats: int) -> dict[str, float]:
    """Fastest of alternating runs of one layer of 2048 neurons for 200 steps, compiled before."""
    grid, latents = rl.TimeGrid(0.5e-3, 200), 10
    drive = rl.WienerDrive(latents, key=jax.random.key(1)).increments(grid)
    drive = drive.astype(jnp.float32)

    def run(network: rl.Network) -> float:
        start = time.perf_counter()
        rl.simulate(
            network, drive, grid, dynamics, key=jax.random.key(2)
        ).outputs.block_until_ready()
        return time.perf_counter() - start

    networks = {
        name: single(
            rl.relay_network(
                make(2048),
                num_neurons=2048,
                num_latents=latents,
                depth=1,
                key=jax.random.key(0),
            )
        )
        for name, make in TYPES.items()
    }
    for network in networks.values():
        run(network)
    times = [{name: run(n) for name, n in networks.items()} for _ in range(repeats)]
    return {name: min(each[name] for each in times) for name in networks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--costs", action="store_true", help="run-time ratios instead")
    parser.add_argument("--trials", type=int, default=3, help="at the largest N")
    parser.add_argument("--depth", type=int, default=2, help="layers")
    parser.add_argument("--steps", type=int, default=500, help="of 1 ms, with burn-in")
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--types", nargs="*", default=list(TYPES), choices=list(TYPES))
    options = parser.parse_args()
    if options.costs:
        print("neuron | generalised rate | spiking (run time over that of SRM0)")
        rate, spiking = (
            run_times(dynamics, 10) for dynamics in (rl.GeneralisedRate(), rl.Spiking())
        )
        for name in TYPES:
            ratios = rate[name] / rate["SRM0"], spiking[name] / spiking["SRM0"]
            print(f"{name} | {ratios[0]:.2f} | {ratios[1]:.2f}")
        return
    print(
        "neuron | slope from the smallest N | slope from 1024 | to conventional, from 1024 | error at the largest N | "
        "to conventional | sqrt(conventional^2 - generalised^2) for each N | rate (Hz) | spread of a trial | minutes"
    )
    for name in options.types:
        start = time.perf_counter()
        row = slopes(
            TYPES[name], options.sizes, options.trials, options.depth, options.steps
        )
        minutes = (time.perf_counter() - start) / 60.0
        print(f"{name} | {row} | {minutes:.1f}", flush=True)


if __name__ == "__main__":
    main()
