"""Recurrent networks of spiking neurons follow their generalised rate, as fast as their kind allows.

Two networks: one stores random patterns (Schmutz, Brea and Gerstner 2025) between neurons
that are refractory for 8 ms, the other inhibits itself:

    python examples/studies/recurrent.py            # N from 512 to 8192
    python examples/studies/recurrent.py --quick    # N from 128 to 512, for a first look

A  overlaps with two stored patterns. A weak cue is completed, and a pulse switches to the
   other pattern. The cue lies between the thresholds of both rate networks: neurons that
   have not fired for a while answer more strongly than their stationary rate says
B  the same, magnified: refractory neurons that were excited together fire together again
C  error against N of the stable inhibitory loop under white noise, away from any threshold
D  trials of the network with patterns after a weaker cue, at the threshold of the generalised
   rate. Where only spikes or only their rate keep the pattern, the error does not depend on
   N: such trials dominate the mean, and its slope is not that of fluctuations

Writes recurrent.png, recurrent.pdf, recurrent.csv (the loop, a row for each trial as it
finishes) and recurrent_patterns.csv.
"""

from pathlib import Path
from typing import Any

import _script
import _study
import jax
import jax.numpy as jnp
import numpy as np

import ratelike as rl

GRID = rl.TimeGrid(1e-3, 500)
PATTERNS = LATENTS = 3
BURN_IN = 100  # steps, of the inhibitory loop
PARTED = 0.1  # a larger error: either spikes or rate have forgotten the pattern

options = _script.options(
    "Draws how recurrent spiking networks follow their rate networks.",
    None,
    output="recurrent",
    quick=dict(min_size=128, max_size=512, shown_size=1024, trials=4),
    min_size=(_script.count, 512, "smallest number N of neurons"),
    max_size=(_script.count, 8192, "largest N; sizes double from the smallest on"),
    shown_size=(_script.count, 4096, "N of the traces"),
    trials=(_script.count, 6, "trials at the largest N, proportionally more at others"),
)
sizes = _script.doubled(options.min_size, options.max_size)
keys = jax.random.split(jax.random.key(options.seed), 4)


def memory(num_neurons: int, key: jax.Array) -> rl.Network:
    """Silent at a few hertz, or within a pattern at about 30 Hz."""
    refractory = rl.ExponentialRefractory(
        amplitude=4.0, tau=10e-3, dead_time=8e-3, memory=40e-3
    )
    return rl.attractor_network(
        rl.SRM0(refractory=refractory),
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


def cue_and_pulse(strength: float) -> jax.Array:
    """Increments: a cue for pattern 1 and half of 2, then a pulse from 1 to 2."""
    signal = np.zeros((GRID.num_steps, PATTERNS))
    signal[50:54] = strength, 0.5 * strength, 0.0
    signal[250:260] = -1.0, 2.0, 0.0
    return jnp.asarray(signal * GRID.dt)


def predicted_error(size: int, key: jax.Array) -> float:
    """Of an inhibitory loop, without a spike."""
    keys = jax.random.split(key, 3)
    network = inhibited(size, keys[0])
    drive = rl.WienerDrive(LATENTS, tau_m=network.output_tau_m, key=keys[1])
    error = rl.expected_error(network, drive, GRID, burn_in=BURN_IN, key=keys[2])
    return float(error)


def study(make_network: Any, path: Path, **more: Any) -> rl.study.Convergence:
    with path.open("w", newline="") as file:
        execution = rl.study.Execution(
            progress=rl.study.Progress(path.stem), on_cell=_study.cell_writer(file)
        )
        more = dict(num_trials=options.trials, key=keys[2], execution=execution, **more)
        return rl.convergence(make_network, sizes, GRID, **more)


table = _script.files(options)[2]
stable = study(inhibited, table, burn_in=BURN_IN)
_study.print_table(stable, min(sizes), digits=3)
prediction = []
for size in sizes:
    errors = [predicted_error(size, key) for key in jax.random.split(keys[3], 4)]
    prediction.append(np.mean(errors))
    print(f"N = {size}: error to generalised predicted {prediction[-1]:.4f}")

# Thresholds depend on the patterns: of the generalised rate 0.5 to 0.6 (2048 neurons), of the conventional above 0.85.
bistable = study(
    memory,
    table.with_stem(f"{table.stem}_patterns"),
    make_drive=lambda network, key: cue_and_pulse(0.55),
).generalised
print(f"     N  trials  mean error  above {PARTED}  median of the others")
for size, errors in zip(sizes, bistable.values, strict=True):
    parted = errors > PARTED
    print(f"{size:6}  {len(errors):6}  {errors.mean():10.4f}", end="")
    print(f"  {parted.sum():9}  {np.median(errors[~parted]):20.4f}")

network = memory(options.shown_size, keys[0])
dynamics = {
    "spiking": rl.Spiking(),
    "generalised rate": rl.GeneralisedRate(),
    "conventional rate": rl.ConventionalRate(),
}
traces = {
    name: rl.simulate(network, cue_and_pulse(0.75), GRID, each, key=keys[1])
    for name, each in dynamics.items()
}

titles = {
    "A": f"A weak cue is completed, a pulse switches the memory ($N$ = {options.shown_size})",
    "B": "After the switch",
    "C": "Away from a threshold: a stable inhibitory loop",
    "D": "At a threshold: single trials after a weaker cue",
}
panels, ratios = "AAAAABBB;CCCCDDDD", [1, 1.25]
with _script.picture(options, panels, titles, (11, 7.4), height_ratios=ratios) as axes:
    whole, magnified, loop, trials = (axes[letter] for letter in "ABCD")
    rl.plot.traces(traces, latent=0, ax=whole)
    for ax in (whole, magnified):
        rl.plot.traces(traces, latent=1, ax=ax)
        ax.axvspan(50, 54, color=rl.plot.COLORS["latent"], alpha=0.25, linewidth=0)
        ax.axvspan(250, 260, color=rl.plot.COLORS["latent"], alpha=0.25, linewidth=0)
    texts = {48: "cue", 185: "with pattern 1", 248: "pulse", 430: "with pattern 2"}
    for right, text in texts.items():
        whole.text(right, 1.25, text, ha="right")
    whole.set(ylabel="overlap $m$", ylim=(-0.45, 1.4))
    whole.legend(handles=whole.lines[:3], loc="lower right", bbox_to_anchor=(1, 0.32))
    magnified.set(ylabel="overlap with pattern 2", xlim=(250, 360), ylim=(0.6, 1.25))
    magnified.legend().remove()

    rl.plot.convergence(stable, unit="s.d. of input", ax=loop)
    loop.plot(
        sizes, prediction, "kD", ms=8, mfc="none", label="predicted without a spike"
    )
    loop.set_xlabel("neurons $N$")
    loop.legend(loc="lower left")

    every_size = np.repeat(sizes, [len(errors) for errors in bistable.values])
    every_error = np.concatenate(bistable.values)
    beside = np.exp(np.random.default_rng(0).uniform(-0.15, 0.15, len(every_size)))
    trials.loglog(every_size * beside, every_error, ".", alpha=0.6)
    trials.loglog(sizes, bistable.mean(), "k_-", markersize=16, label="mean")
    text = "above: spikes and rate part at the threshold"
    trials.axhline(PARTED, color="0.5", linestyle="--", label=text)
    trials.set_xticks(sizes, [f"{size}" for size in sizes])
    trials.set_xticks([], minor=True)
    trials.set_xlabel("neurons $N$")
    trials.set_ylabel(r"$|m_{\mathrm{spiking}} - m_{\mathrm{rate}}|$ of each trial")
    trials.set_ylim(bottom=0.3 * every_error.min())
    trials.legend(loc="lower left")
