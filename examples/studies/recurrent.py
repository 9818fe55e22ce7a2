"""Recurrent networks of spiking neurons follow their generalised rate, as fast as their kind allows.

Two networks: one stores random patterns (Schmutz, Brea and Gerstner 2025) between neurons
that are refractory for 8 ms, the other inhibits itself:

    python examples/studies/recurrent.py            # N from 512 to 8192
    python examples/studies/recurrent.py --quick    # N from 128 to 512, for a first look

A  overlaps of the activity with two stored patterns, spiking and as either rate network.
   A weak cue, mixed with another pattern, is completed, and a pulse then moves the network
   to the other pattern. The cue lies between the thresholds of the two rate networks, since
   neurons that have not fired for a while answer more strongly than their stationary rate
   says: the conventional rate forgets it
B  the same, magnified: refractory neurons that were excited together fire together again
C  error against N of the stable inhibitory loop under white noise, away from any threshold,
   and the prediction of it without a spike
D  single trials of the network with the patterns after a still weaker cue, at the threshold
   of the generalised rate. Where spikes keep the pattern and their rate forgets it, or the
   other way, the error is that of a pattern, whatever N is: such trials dominate the mean,
   and its slope is not that of fluctuations

Writes recurrent.png, recurrent.pdf, recurrent.csv (the loop, a row for each trial as it
finishes) and recurrent_patterns.csv.
"""

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import _script
import _study
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator
from tqdm import tqdm

import ratelike as rl

QUICK = dict(min_size=128, max_size=512, shown_size=1024, trials=4)

GRID = rl.TimeGrid(1e-3, 500)
PATTERNS = LATENTS = 3
BURN_IN = 100  # steps, of the inhibitory loop
REFRACTORY = rl.ExponentialRefractory(
    amplitude=4.0, tau=10e-3, dead_time=8e-3, memory=40e-3
)
NEURON = rl.SRM0(refractory=REFRACTORY)
# With a larger distance one of both has forgotten the pattern, whose overlap is about one, and the other has not.
PARTED = 0.1


class Pulses(rl.extend.AbstractDrive):
    """Input along the patterns: for each pulse its beginning and end in ms, and a strength for each pattern."""

    pulses: tuple[tuple[float, float, tuple[float, ...]], ...] = eqx.field(static=True)

    def increments(self, grid: rl.TimeGrid) -> jax.Array:
        times = 1e3 * grid.times[:-1, None]
        strength = sum(
            ((times >= begin - 1e-6) & (times < end - 1e-6)) * np.array(along)
            for begin, end, along in self.pulses
        )
        return jnp.asarray(strength * grid.dt)


def cues(strength: float) -> Pulses:
    """A cue for the first pattern with some of the second, and a pulse from the first to the second."""
    cue = (50.0, 54.0, (strength, 0.5 * strength, 0.0))
    return Pulses((cue, (250.0, 260.0, (-1.0, 2.0, 0.0))))


# Thresholds depend on the patterns: of the generalised rate 0.5 to 0.6 (2048 neurons), of the conventional above 0.85.
SHOWN, AT_THRESHOLD = cues(0.75), cues(0.55)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    keys = jax.random.split(jax.random.key(options.seed), 4)
    with _script.files(options)[2].open("w", newline="") as file:
        more = dict(key=keys[2], burn_in=BURN_IN)
        stable = run_study("inhibitory loop", inhibited, options, file, **more)
    with Path(f"{options.output}_patterns.csv").open("w", newline="") as file:
        more = dict(key=keys[2], make_drive=lambda network, key: AT_THRESHOLD)
        bistable = run_study("patterns", memory, options, file, **more)
    predicted = predict(stable.sizes, options.predictions, keys[3])
    traces = simulate_traces(options.shown_size, keys[:2])
    titles = {
        "A": f"A weak cue is completed, a pulse switches the memory ($N$ = {options.shown_size})",
        "B": "After the switch",
        "C": "Away from a threshold: a stable inhibitory loop",
        "D": "At a threshold: single trials after a weaker cue",
    }
    panels, ratios = "AAAAABBB;CCCCDDDD", [1, 1.25]
    picture = _script.picture(options, panels, titles, (11, 7.4), height_ratios=ratios)
    with picture as axes:
        draw(axes, traces, stable, predicted, bistable)
    _study.print_table(stable, min(stable.sizes), digits=3)
    for size, errors in zip(stable.sizes, predicted, strict=True):
        print(f"N = {size}: error to generalised predicted {errors.mean():.4f}")
    print_trials(bistable)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    count = _script.count
    return _script.options(
        "Draws how recurrent spiking networks follow their rate networks.",
        arguments,
        output="recurrent",
        quick=QUICK,
        min_size=(count, 512, "smallest number N of neurons"),
        max_size=(count, 8192, "largest N; sizes double from the smallest on"),
        shown_size=(count, 4096, "N of the traces"),
        trials=(count, 6, "trials at the largest N, proportionally more at others"),
        predictions=(count, 4, "networks of a size for which the error is predicted"),
    )


# Networks


def memory(num_neurons: int, key: jax.Array) -> rl.Network:
    """Silent at a few hertz, or within a pattern at about 30 Hz."""
    return rl.attractor_network(
        NEURON,
        num_neurons=num_neurons,
        num_patterns=PATTERNS,
        key=key,
        gain=8.0,
        bias=-1.0,
        delay=1e-3,
    )


def inhibited(num_neurons: int, key: jax.Array) -> rl.Network:
    """What comes in is subtracted from itself, 2 ms later, as the neurons hand it on."""
    relay = rl.relay_network(
        rl.SRM0(), num_neurons=num_neurons, num_latents=LATENTS, depth=1, key=key
    )
    layer = relay.layers[0]
    feedback = rl.Feedback(layer.encoder, -layer.decoder, 2e-3)
    layer = rl.Layer(layer.neuron, layer.encoder, layer.decoder, layer.bias, feedback)
    return rl.Network([layer])


# Simulations


def simulate_traces(size: int, keys: jax.Array) -> dict[str, rl.Trajectory]:
    network = memory(size, keys[0])
    dynamics = {
        "spiking": rl.Spiking(),
        "generalised rate": rl.GeneralisedRate(),
        "conventional rate": rl.ConventionalRate(),
    }
    return {
        name: rl.simulate(network, SHOWN, GRID, each, key=keys[1])
        for name, each in dynamics.items()
    }


def run_study(
    name: str, make: Callable, options: argparse.Namespace, file: TextIO, **more: Any
) -> rl.study.Convergence:
    sizes = _script.doubled(options.min_size, options.max_size)
    # disable=None: no bar where nobody watches.
    bar = functools.partial(tqdm, desc=name, unit="cell", disable=None)
    return rl.convergence(
        make,
        sizes,
        GRID,
        num_trials=options.trials,
        execution=rl.study.Execution(progress=bar, on_cell=_study.cell_writer(file)),
        **more,
    )


def predict(sizes: Sequence[int], number: int, key: jax.Array) -> np.ndarray:
    """Of the inhibitory loop: errors without a spike, (sizes, networks)."""

    def one(size: int, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 3)
        network = inhibited(size, keys[0])
        drive = rl.WienerDrive(LATENTS, tau_m=network.output_tau_m, key=keys[1])
        return rl.expected_error(network, drive, GRID, burn_in=BURN_IN, key=keys[2])

    keys = jax.random.split(key, number)
    return np.array([[one(size, key) for key in keys] for size in sizes])


def print_trials(study: rl.study.Convergence) -> None:
    print(f"     N  trials  mean error  above {PARTED}  median of the others")
    for size, errors in zip(study.sizes, study.generalised.values, strict=True):
        parted = errors > PARTED
        others = np.median(errors[~parted])
        print(f"{size:6}  {len(errors):6}  {errors.mean():10.4f}", end="")
        print(f"  {parted.sum():9}  {others:20.4f}")


# The figure


def draw(
    axes: Mapping[str, Axes],
    traces: dict[str, rl.Trajectory],
    stable: rl.study.Convergence,
    predicted: np.ndarray,
    bistable: rl.study.Convergence,
) -> None:
    draw_overlaps(axes["A"], traces)
    for time_shown, name in ((165, "with pattern 1"), (385, "with pattern 2")):
        axes["A"].text(time_shown, 1.22, name, ha="center")
    axes["A"].set_ylim(-0.45, 1.4)
    axes["A"].legend(loc="lower right", bbox_to_anchor=(1, 0.32), handlelength=1.4)
    draw_magnified(axes["B"], traces)
    draw_loop(axes["C"], stable, predicted)
    draw_trials(axes["D"], bistable)


def draw_overlaps(ax: Axes, traces: dict[str, rl.Trajectory]) -> None:
    for pattern in (1, 0):
        rl.plot.traces(traces, latent=pattern, ax=ax)
    for line in ax.lines[: len(traces)]:  # both patterns have the same colours
        line.set_label("_")
    for begin, end, _ in SHOWN.pulses:
        ax.axvspan(begin, end, color="#009E73", alpha=0.25, linewidth=0)
    top = ax.get_xaxis_transform()
    for (begin, _, _), text in zip(SHOWN.pulses, ("cue", "pulse"), strict=True):
        ax.text(begin - 2, 0.98, text, ha="right", va="top", transform=top)
    ax.set_ylabel("overlap $m$")


def draw_magnified(ax: Axes, traces: dict[str, rl.Trajectory]) -> None:
    draw_overlaps(ax, traces)
    ax.legend().remove()
    begin, spiking = SHOWN.pulses[1][0], traces["spiking"]
    last = np.asarray(spiking.outputs)[1e3 * spiking.times > begin + 20, 1].max()
    ax.set(xlim=(begin, begin + 110), ylim=(0.6, 1.05 * last))
    for text in ax.texts:
        text.set_visible(False)
    ax.set_ylabel("overlap with pattern 2")


def draw_loop(ax: Axes, study: rl.study.Convergence, predicted: np.ndarray) -> None:
    rl.plot.convergence(study, unit="s.d. of input", ax=ax)
    mean, label = predicted.mean(axis=1), "predicted without a spike"
    ax.plot(study.sizes, mean, "D", color="black", markersize=8, fillstyle="none", label=label)  # fmt: skip
    ax.set_xlabel("neurons $N$")
    ax.legend(loc="lower left", title="slopes with 95% intervals", alignment="left")


def draw_trials(ax: Axes, study: rl.study.Convergence) -> None:
    generator = np.random.default_rng(0)
    names = "spikes and rate stay together", "they part at the threshold"
    colors = rl.plot.COLORS["generalised"], "#CC79A7"
    values = study.generalised.values
    beside = [n * np.exp(generator.uniform(-0.15, 0.15, len(e))) for n, e in zip(study.sizes, values, strict=True)]  # fmt: skip
    beside, errors = np.concatenate(beside), np.concatenate(values)
    for parted, name, color in zip((False, True), names, colors, strict=True):
        chosen = (errors > PARTED) == parted
        ax.plot(beside[chosen], errors[chosen], ".", color=color, alpha=0.6, label=name)
    mean = study.generalised.mean()
    ax.plot(study.sizes, mean, "_-", color="black", markersize=16, label="mean")
    ax.set(xscale="log", yscale="log", xlabel="neurons $N$")
    ax.set_xticks(study.sizes, [f"{size}" for size in study.sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel(r"$|m_{\mathrm{spiking}} - m_{\mathrm{rate}}|$ of each trial")
    ax.set_ylim(bottom=0.3 * errors.min())
    ax.legend(loc="lower left")


if __name__ == "__main__":
    main()
