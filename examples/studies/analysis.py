"""Refractory neurons that inhibit each other begin to oscillate, and linear theory says when.

The neurons of recurrent.py here inhibit each other after 4 ms. They fire regularly, at
50 Hz, so that they follow input near that rate more than their stationary rate says. For
some dead times this resonance makes the stationary state unstable (Gerstner 2000). The
conventional rate has none, and oscillates at no dead time:

    python examples/studies/analysis.py            # 2000 neurons
    python examples/studies/analysis.py --quick    # 300 neurons

A  bifurcation diagram: stationary rates, and extremes of the oscillation, by dead time
B  Bode plot at a dead time beyond the oscillation, from the input to the mean rate
C  power spectrum of the mean rate of the same network without input

Lines are theory, dots spikes, and circles simulated generalised rates. Writes
analysis.png and analysis.pdf.
"""

from collections.abc import Mapping, Sequence

import _script
import _study
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from scipy import signal

import ratelike as rl

QUICK = dict(neurons=300)
DT, STEPS = 1e-3, 30_000
DEAD_TIMES = 1e-3 * np.array([2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16])
BEYOND = 15e-3
FREQUENCIES = np.geomspace(4.0, 490.0, 300)
INPUT = 0.03  # of white noise: potential times square root of seconds
DOTS = {"color": "0.4", "marker": "o", "markersize": 3.5, "linestyle": "none"}
CIRCLES = {**DOTS, "color": _study.GENERALISED, "mfc": "none", "markersize": 7}
RATES = {"generalised": rl.GeneralisedRate(), "conventional": rl.ConventionalRate()}


def make_network(dead_time: float, neurons: int, seed: int) -> rl.Network:
    refractory = rl.ExponentialRefractory(4.0, 10e-3, DEAD_TIMES[0], memory=40e-3)
    spread = 0.1 * jax.random.normal(jax.random.key(seed), (neurons, 2))
    ones = jnp.ones((neurons, 1))
    feedback = rl.Feedback(-0.1 * (1.0 + spread[:, :1]), ones, 4e-3)
    neuron = rl.SRM0(refractory=refractory)
    layer = rl.Layer(neuron, ones, ones, 8.0 + spread[:, 1], feedback)
    # Put in its place, so that all dead times are one program.
    place = lambda layer: layer.neuron.refractory.dead_time  # noqa: E731
    return rl.Network([eqx.tree_at(place, layer, jnp.asarray(dead_time))])


def mean_rate(
    network: rl.Network, dynamics: rl.extend.AbstractDynamics, increments: np.ndarray
) -> np.ndarray:
    """In hertz, from the stationary state on."""
    at = rl.analysis.stationary_state(network, [0.0], dt=DT)
    steps = jnp.asarray(increments[:, None], at.input.dtype)
    grid, initial = rl.TimeGrid(DT, len(steps)), at.state(network)
    key = jax.random.key(1) if isinstance(dynamics, rl.Spiking) else None
    run = rl.simulate(network, steps, grid, dynamics, key=key, initial=initial)
    return np.asarray(run.rates[0], float)


def extremes(rate: np.ndarray) -> tuple[float, float]:
    """Of the oscillation in the second half of a run."""
    late = rate[len(rate) // 2 :]
    within = slice(round(50.0 * DT * len(late)), round(110.0 * DT * len(late)))  # Hz
    size = 2.0 * float(np.linalg.norm(np.fft.rfft(late)[within])) / len(late)
    return late.mean() - size, late.mean() + size


def draw_onset(ax: Axes, neurons: int, seed: int) -> None:
    networks = {each: make_network(each, neurons, seed) for each in DEAD_TIMES}
    branches = {
        f"{name} rate": rl.analysis.natural_continuation(
            networks.__getitem__, DEAD_TIMES, dt=DT, input=[0.0], dynamics=dynamics
        )
        for name, dynamics in RATES.items()
    }
    for name, branch in branches.items():
        points = [f"{1e3 * p.value:.1f} ms" for p in branch.bifurcations]
        print(f"{name}: Hopf points at {', '.join(points) or 'no dead time'}")
    rl.plot.bifurcation(branches, ax=ax)
    # Their stationary rates are the same.
    ax.lines[-2].set(linewidth=5, alpha=0.4, zorder=1)
    kick = np.eye(2000)[0] * 5e-3
    for name, dynamics, style in (("spikes", rl.Spiking(), DOTS), ("generalised rate, simulated", rl.GeneralisedRate(), CIRCLES)):  # fmt: skip
        ends = [extremes(mean_rate(n, dynamics, kick)) for n in networks.values()]
        ax.plot(DEAD_TIMES, ends, **style, label=[name, "_"])
    ax.xaxis.set_major_formatter(lambda value, _: f"{1e3 * value:g}")
    ax.set(xlabel="dead time (ms)", ylabel="mean rate (Hz)", ylim=(0, None))
    ax.legend(loc="lower left")


def draw_linear(axes: Mapping[str, Axes], neurons: int, seed: int) -> None:
    network = make_network(BEYOND, neurons, seed)
    at = rl.analysis.stationary_state(network, [0.0], dt=DT)
    gains = {
        f"{name} rate": rl.analysis.transfer_function(network, FREQUENCIES, at=at, dynamics=dynamics)
        for name, dynamics in RATES.items()
    }  # fmt: skip
    rl.plot.bode(FREQUENCIES, gains, phase=False, ax=axes["B"])
    pieces = {"fs": 1.0 / DT, "nperseg": 500}
    noise = INPUT * np.sqrt(DT) * np.random.default_rng(seed).normal(size=STEPS)
    rate = mean_rate(network, rl.Spiking(), noise)
    bins, cross = signal.csd(noise / DT, rate, **pieces)
    gain = np.abs(cross / signal.welch(noise / DT, **pieces)[1])
    few = np.unique(np.searchsorted(bins, np.geomspace(4.0, 300.0, 60)))
    axes["B"].plot(bins[few], gain[few], **DOTS, label="spikes")
    axes["B"].set(ylabel="gain (Hz per unit of potential)", ylim=(0.1, None))
    theory = rl.analysis.spectrum(network, FREQUENCIES, at=at).rates[0]
    power = signal.welch(mean_rate(network, rl.Spiking(), 0.0 * noise), **pieces)[1]
    axes["C"].loglog(FREQUENCIES, 2.0 * theory, color=_study.GENERALISED, label="linear theory")  # fmt: skip
    poisson = 2.0 * float(at.rates[0].mean()) / neurons
    axes["C"].axhline(poisson, color="0", linestyle=":", label="Poisson neurons")
    axes["C"].plot(bins[few], power[few], **DOTS, label="spikes")
    axes["C"].set(xlabel="frequency (Hz)", ylabel="power spectrum (Hz²/Hz)")
    axes["B"].legend(loc="lower left")
    axes["C"].legend(loc="lower right")


def main(arguments: Sequence[str] | None = None) -> None:
    options = _script.options(
        "Draws the linear theory of an oscillation.",
        arguments,
        output="analysis",
        quick=QUICK,
        neurons=(_script.count, 2000, "number N"),
    )
    titles = {
        "A": f"Some dead times let inhibition oscillate ($N$ = {options.neurons})",
        "B": "Response at 15 ms",
        "C": "Fluctuations at 15 ms",
    }
    ratios = [1.3, 1, 1]
    with _script.picture(
        options, "ABC", titles, (11, 3.8), width_ratios=ratios
    ) as axes:
        draw_onset(axes["A"], options.neurons, options.seed)
        draw_linear(axes, options.neurons, options.seed)


if __name__ == "__main__":
    main()
