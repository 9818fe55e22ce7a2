"""Neurons with adaptation: how far their rates are from the mean of spikes, and what that leaves of convergence.

    python benchmarks/adaptation.py             # both tables
    python benchmarks/adaptation.py --strengths # the neuron alone
    python benchmarks/adaptation.py --network   # error against N

*The neuron alone*: many copies receive the same fluctuating input, so that their mean is the expected activity up to its
standard error, which is printed. Errors are those of the rate averaged over time, and of the membrane trace of
the activity (tau_m) at each moment, both relative to the mean rate.

*The network*: a relay network of adaptive neurons, spiking against the generalised rates with both closures, and for
comparison against the conventional rate. With a renewal neuron (amplitude 0) the first would go on falling as
1/sqrt(N).
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl

DT = 1e-3
CLOSURES = {"quasi-renewal": rl.QuasiRenewal(), "mean trace": rl.MeanTrace()}


def neuron(amplitude: float, tau: float, closure=None) -> rl.AdaptiveSRM:
    return rl.AdaptiveSRM(adaptation=[rl.Adaptation(amplitude, tau)], closure=closure)


def single(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def strengths(copies: int, steps: int, bias: float) -> None:
    grid, burn_in = rl.TimeGrid(DT, steps), steps // 5
    increments = rl.WienerDrive(1, key=jax.random.key(0)).increments(grid)

    def layer(own, size):
        return rl.Layer(own, np.ones((size, 1)), np.ones((size, 1)), bias)

    def run(own, size, dynamics, key=None):
        network = single(rl.Network([layer(own, size)]))
        run = rl.simulate(network, increments, grid, dynamics, key=key)
        return np.asarray(run.rates[0])[burn_in:], np.asarray(run.outputs)[burn_in:, 0]

    print(
        f"{copies} copies, {steps} steps of 1 ms, bias {bias:g}\n"
        "amplitude (widths) | tau (ms) | mean rate (Hz) | without adaptation | "
        + " | ".join(f"{name}: rate, trace (%)" for name in CLOSURES)
        + " | noise of the trial mean: trace (%)"
    )
    plain, _ = run(rl.SRM0(), 1, rl.GeneralisedRate())
    for tau in (50e-3, 200e-3):
        for amplitude in (0.0, 0.25, 0.5, 1.0, 2.0):
            trials = [
                run(
                    neuron(amplitude, tau), copies // 2, rl.Spiking(), jax.random.key(k)
                )
                for k in (1, 2)
            ]
            rate, trace = (
                np.mean([trial[i] for trial in trials], axis=0) for i in (0, 1)
            )
            noise = np.mean(np.abs(trials[0][1] - trials[1][1])) / 2 / rate.mean()
            row = []
            for closure in CLOSURES.values():
                own = run(neuron(amplitude, tau, closure), 1, rl.GeneralisedRate())
                relative = own[0].mean() / rate.mean() - 1.0
                error = np.mean(np.abs(own[1] - trace)) / rate.mean()
                row.append(f"{100 * relative:+.2f}, {100 * error:.2f}")
            print(
                f"{amplitude:g} | {1e3 * tau:g} | {rate.mean():.2f} | {plain.mean():.2f} | {' | '.join(row)} | {100 * noise:.2f}",
                flush=True,
            )


def network(
    sizes: list[int],
    trials: int,
    steps: int,
    latents: int,
    depth: int,
    amplitude: float,
    tau: float,
) -> None:
    grid, burn_in = rl.TimeGrid(DT, steps), steps // 5
    print(
        f"relay network, {depth} layers, {latents} latents, amplitude {amplitude:g}, tau {1e3 * tau:g} ms, {steps} steps\n"
        "N | " + " | ".join(CLOSURES) + " | conventional | rate (Hz)"
    )
    curves = {}
    for name, closure in CLOSURES.items():
        own = neuron(amplitude, tau, closure)

        def make(num_neurons, key, own=own):
            return single(
                rl.relay_network(
                    own,
                    num_neurons=num_neurons,
                    num_latents=latents,
                    depth=depth,
                    key=key,
                )
            )

        curves[name] = rl.convergence(
            make,
            sizes,
            grid,
            num_trials=trials,
            key=jax.random.key(0),
            burn_in=burn_in,
            # A tenth of the closure's error, and a few times faster.
            dynamics=rl.study.ComparedDynamics(
                generalised=rl.GeneralisedRate(rl.AgeShift(rl.AgeMesh.graded(own)))
            ),
        )
    for index, size in enumerate(sizes):
        errors = [curves[name].generalised.mean()[index] for name in CLOSURES]
        first = curves["quasi-renewal"]
        print(
            f"{size} | "
            + " | ".join(f"{each:.4f}" for each in errors)
            + f" | {first.conventional.mean()[index]:.4f} | {first.rates.mean()[index]:.1f}"
        )
    for name, curve in curves.items():
        fit = curve.generalised.slope()
        print(f"slope, {name}: {fit.value:.3f} [{fit.lower:.3f}, {fit.upper:.3f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strengths", action="store_true", help="the neuron alone")
    parser.add_argument("--network", action="store_true", help="error against N")
    parser.add_argument("--copies", type=int, default=40_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--bias", type=float, default=1.0)
    parser.add_argument("--sizes", nargs="*", type=int, default=[1024, 8192, 65536])
    parser.add_argument("--trials", type=int, default=1, help="at the largest N")
    parser.add_argument("--latents", type=int, default=2)
    parser.add_argument("--depth", type=int, default=1, help="layers")
    parser.add_argument("--amplitude", type=float, default=1.0)
    parser.add_argument("--tau", type=float, default=100e-3)
    options = parser.parse_args()
    both = not (options.strengths or options.network)
    if options.strengths or both:
        strengths(options.copies, options.steps, options.bias)
    if options.network or both:
        network(
            options.sizes,
            options.trials,
            options.steps,
            options.latents,
            options.depth,
            options.amplitude,
            options.tau,
        )


if __name__ == "__main__":
    main()
