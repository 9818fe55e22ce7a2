"""Refractory neurons that inhibit each other begin to oscillate, and linear theory says when.

The neurons of recurrent.py here inhibit each other after 4 ms. They fire at 50 Hz, and
regularly, since they are refractory: so they follow a modulation of their input near that
rate more than their stationary rate says. For some dead times this resonance makes the
stationary state unstable (Gerstner 2000). The conventional rate has none, and does not
oscillate at any dead time:

    python examples/studies/analysis.py            # 2000 neurons, 30 s of spikes in B and C
    python examples/studies/analysis.py --quick    # 500 neurons, 4 s

A  bifurcation diagram: stationary rates, and extremes of the oscillation, by dead time
B  Bode plot at a dead time beyond the oscillation, from the input to the mean rate
C  power spectrum of the mean rate of the same network without input

Lines are theory, grey dots are spikes, and circles in A simulated generalised rates.
Writes analysis.png and analysis.pdf.
"""

import time
from collections.abc import Sequence

import _script
import _study
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import signal

import ratelike as rl

QUICK = dict(neurons=500, duration=4.0)
DT = 1e-3
DEAD_TIMES = 1e-3 * np.array([2, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16])
BEYOND = 15e-3
BAND = (50.0, 110.0)  # Hz, of the oscillation
FREQUENCIES = np.geomspace(4.0, 500.0, 300)
PIECE = 500  # steps, of Welch's method
INPUT = 0.03  # standard deviation of white noise, potential times square root of seconds
DOTS = {"color": "0.4", "marker": "o", "markersize": 3.5, "linestyle": "none"}


def make_network(dead_time: float, neurons: int, seed: int) -> rl.Network:
    refractory = rl.ExponentialRefractory(4.0, 10e-3, DEAD_TIMES[0], memory=40e-3)
    spread = 0.1 * jax.random.normal(jax.random.key(seed), (neurons, 2))
    ones = jnp.ones((neurons, 1))
    feedback = rl.Feedback(-0.1 * (1.0 + spread[:, :1]), ones, 4e-3)
    bias = 8.0 + spread[:, 1]
    layer = rl.Layer(rl.SRM0(refractory=refractory), ones, ones, bias, feedback)
    # Put in its place, so that all dead times are one program.
    place = lambda layer: layer.neuron.refractory.dead_time  # noqa: E731
    return rl.Network([eqx.tree_at(place, layer, jnp.asarray(dead_time))])


def mean_rate(
    network: rl.Network,
    at: rl.analysis.FixedPoint,
    dynamics: rl.extend.AbstractDynamics,
    increments: np.ndarray,
) -> np.ndarray:
    """In hertz, from the stationary state on."""
    run = rl.simulate(
        network,
        jnp.asarray(increments[:, None], at.input.dtype),
        rl.TimeGrid(DT, len(increments)),
        dynamics,
        key=jax.random.key(1) if isinstance(dynamics, rl.Spiking) else None,
        initial=at.state(network),
    )
    return np.asarray(run.rates[0], float)


def extremes(rate: np.ndarray) -> tuple[float, float]:
    """Of the oscillation in the second half of a run."""
    late = rate[len(rate) // 2 :]
    lines = np.fft.rfft(late) * 2.0 / len(late)
    frequencies = np.fft.rfftfreq(len(late), DT)
    within = (frequencies > BAND[0]) & (frequencies < BAND[1])
    size = float(np.linalg.norm(lines[within]))
    return late.mean() - size, late.mean() + size


def draw_onset(ax: Axes, neurons: int, seed: int) -> None:
    networks = {each: make_network(each, neurons, seed) for each in DEAD_TIMES}
    generalised, conventional = (
        rl.analysis.natural_continuation(
            networks.__getitem__, DEAD_TIMES, dt=DT, input=[0.0], dynamics=each
        )
        for each in (rl.GeneralisedRate(), rl.ConventionalRate())
    )
    for name, branch in (("generalised", generalised), ("conventional", conventional)):
        points = [f"{1e3 * one.value:.1f} ms ({one.frequency:.0f} Hz)" for one in branch.bifurcations]  # fmt: skip
        print(f"{name} rate, Hopf points: {', '.join(points) or 'none'}")
    kick = np.eye(2000)[0] * 5e-3
    circles = {**DOTS, "color": _study.GENERALISED, "mfc": "none", "markersize": 7}
    for dynamics, style in ((rl.Spiking(), DOTS), (rl.GeneralisedRate(), circles)):
        ends = [
            extremes(mean_rate(network, at, dynamics, kick))
            for network, at in zip(networks.values(), generalised.states, strict=True)
        ]
        ax.plot(DEAD_TIMES, ends, **style)
    rl.plot.bifurcation({"conventional rate": conventional}, ax=ax)
    ax.lines[-2].set(color=_study.CONVENTIONAL, linewidth=4, alpha=0.4)
    rl.plot.bifurcation({"generalised rate": generalised}, ax=ax)
    ax.xaxis.set_major_formatter(lambda value, _: f"{1e3 * value:g}")
    ax.set(xlabel="dead time (ms)", ylabel="mean rate (Hz)")


def draw_response(axes: dict[str, Axes], neurons: int, seed: int, steps: int) -> None:
    network = make_network(BEYOND, neurons, seed)
    at = rl.analysis.stationary_state(network, [0.0], dt=DT)
    gains = {
        name: rl.analysis.transfer_function(
            network, FREQUENCIES, at=at, dynamics=dynamics
        )
        for name, dynamics in (("generalised rate", rl.GeneralisedRate()), ("conventional rate", rl.ConventionalRate()))  # fmt: skip
    }
    rl.plot.bode(FREQUENCIES, gains, phase=False, ax=axes["B"])
    noise = INPUT * np.sqrt(DT) * np.random.default_rng(seed).normal(size=steps)
    rate = mean_rate(network, at, rl.Spiking(), noise)
    bins, cross = signal.csd(noise / DT, rate, 1.0 / DT, nperseg=PIECE)
    power = signal.welch(noise / DT, 1.0 / DT, nperseg=PIECE)[1]
    shown = np.unique(np.searchsorted(bins, np.geomspace(4.0, 495.0, 60)))
    gain = np.abs(cross / power)[shown]
    axes["B"].plot(bins[shown], gain, **DOTS, label="spikes", zorder=1)
    axes["B"].legend(loc="lower left")
    axes["B"].set(ylabel="gain (Hz per unit of potential)")
    theory = rl.analysis.spectrum(network, FREQUENCIES, at=at)
    rate = mean_rate(network, at, rl.Spiking(), np.zeros(steps))
    power = signal.welch(rate, 1.0 / DT, nperseg=PIECE)[1]
    ax = axes["C"]
    ax.loglog(FREQUENCIES, 2.0 * theory.rates[0], color=_study.GENERALISED, label="linear theory")  # fmt: skip
    ax.axhline(2.0 * rate.mean() / neurons, color="black", linestyle=":", label="Poisson neurons")  # fmt: skip
    ax.plot(bins[shown], power[shown], **DOTS, label="spikes", zorder=1)
    ax.set(xlabel="frequency (Hz)", ylabel="power spectrum (Hz²/Hz)")
    ax.legend(loc="lower right")


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    parser = _script.make_parser("Draws the linear theory of an oscillation.")
    count, seconds = _script.number(int, 50, 2**20), _script.number(float, 1.0, 1e4)
    parser.add_argument("--neurons", type=count, default=2000, help="number N")
    parser.add_argument("--duration", type=seconds, default=30.0, help="of spikes in B and C, seconds")  # fmt: skip
    options = _script.parse(parser, arguments, output="analysis", quick=QUICK)
    with mpl.rc_context(_script.STYLE):
        figure = Figure(figsize=(11, 3.8))
        figure.set_layout_engine("constrained", w_pad=0.07)
        axes = figure.subplot_mosaic("ABC", width_ratios=[1.3, 1, 1])
        draw_onset(axes["A"], options.neurons, options.seed)
        steps = round(options.duration / DT)
        draw_response(axes, options.neurons, options.seed, steps)
        titles = {
            "A": f"Inhibition oscillates for some dead times ($N$ = {options.neurons})",
            "B": f"Response at {1e3 * BEYOND:g} ms",
            "C": f"Fluctuations at {1e3 * BEYOND:g} ms",
        }
        _script.name_panels(axes, titles)
        png, pdf, _ = _script.files(options)
        figure.savefig(png, dpi=150)
        figure.savefig(pdf)
    print(f"wrote {png}, {pdf}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
