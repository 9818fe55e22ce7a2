"""Recurrent networks of spiking neurons follow their generalised rate, as fast as their kind allows.

    python examples/studies/recurrent.py            # N from 512 to 8192
    python examples/studies/recurrent.py --quick    # N from 128 to 512, for a first look

One network stores patterns (Schmutz, Brea and Gerstner 2025). A weak cue (A, B) lies between
the thresholds of both rate networks: neurons that have long been silent answer more strongly
than their stationary rate says. At the threshold of the generalised rate (D), spikes and rate
part in some trials, with an error that does not depend on N and dominates the mean. The other
network inhibits itself, away from any threshold (C).

Writes recurrent.png, recurrent.pdf, recurrent.csv (the loop) and recurrent_patterns.csv.
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
CUE, PULSE = slice(50, 54), slice(250, 260)  # steps, or ms
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
    refractory = rl.ExponentialRefractory(4.0, tau=10e-3, dead_time=8e-3, memory=40e-3)
    neuron = rl.SRM0(refractory=refractory)
    constants = dict(gain=8.0, bias=-1.0, delay=1e-3)
    return rl.attractor_network(
        neuron, num_neurons=num_neurons, num_patterns=PATTERNS, key=key, **constants
    )


def inhibited(num_neurons: int, key: jax.Array) -> rl.Network:
    """What comes in is subtracted from itself, 2 ms later, as the neurons hand it on."""
    layer = rl.relay_network(
        rl.SRM0(), num_neurons=num_neurons, num_latents=LATENTS, depth=1, key=key
    ).layers[0]
    feedback = rl.Feedback(layer.encoder, -layer.decoder, 2e-3)
    layer = rl.Layer(layer.neuron, layer.encoder, layer.decoder, layer.bias, feedback)
    return rl.Network([layer])


def cue_and_pulse(strength: float) -> jax.Array:
    """Increments: a cue for pattern 1 and half of 2, then a pulse from 1 to 2."""
    signal = np.zeros((GRID.num_steps, PATTERNS))
    signal[CUE] = strength, 0.5 * strength, 0.0
    signal[PULSE] = -1.0, 2.0, 0.0
    return jnp.asarray(signal * GRID.dt)


def study(make_network: Any, path: Path, **more: Any) -> rl.study.Convergence:
    with path.open("w", newline="") as file:
        execution = rl.study.Execution(
            progress=rl.study.Progress(path.stem), on_cell=_study.cell_writer(file)
        )
        how = dict(num_trials=options.trials, key=keys[2], execution=execution)
        return rl.convergence(make_network, sizes, GRID, **how, **more)


table = _script.files(options)[2]
stable = study(inhibited, table, burn_in=BURN_IN)
_study.print_table(stable, min(sizes), digits=3)
expected = []
for size in sizes:
    errors = []
    for key in jax.random.split(keys[3], 4):
        network_key, drive_key, key = jax.random.split(key, 3)
        network = inhibited(size, network_key)
        drive = rl.WienerDrive(LATENTS, tau_m=network.output_tau_m, key=drive_key)
        given = network, drive, GRID
        errors.append(float(rl.expected_error(*given, burn_in=BURN_IN, key=key)))
    expected.append(np.mean(errors))
    print(f"N = {size}: error to generalised predicted {expected[-1]:.4f}")

# Thresholds depend on the patterns: of the generalised rate 0.5 to 0.6 (2048 neurons), of the conventional above 0.85.
patterns = table.with_stem(f"{table.stem}_patterns")
recall = study(memory, patterns, make_drive=lambda *_: cue_and_pulse(0.55)).generalised
print(f"     N  trials  mean error  above {PARTED}  median of the others")
for size, errors in zip(sizes, recall.values, strict=True):
    parted = errors > PARTED
    print(f"{size:6}  {len(errors):6}  {errors.mean():10.4f}", end="")
    print(f"  {parted.sum():9}  {np.median(errors[~parted]):20.4f}")

given = memory(options.shown_size, keys[0]), cue_and_pulse(0.75), GRID
traces = {
    "spiking": rl.simulate(*given, rl.Spiking(), key=keys[1]),
    "generalised rate": rl.simulate(*given, rl.GeneralisedRate()),
    "conventional rate": rl.simulate(*given, rl.ConventionalRate()),
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
        for span in (CUE, PULSE):
            ax.axvspan(span.start, span.stop, color="0.9")
    texts = {48: "cue", 185: "with pattern 1", 248: "pulse", 430: "with pattern 2"}
    for right, text in texts.items():
        whole.text(right, 1.25, text, ha="right")
    whole.set(ylabel="overlap $m$", ylim=(-0.45, 1.4))
    whole.legend(handles=whole.lines[:3], loc="lower right", bbox_to_anchor=(1, 0.32))
    magnified.set(ylabel="overlap with pattern 2", xlim=(250, 360), ylim=(0.6, 1.25))
    magnified.legend().remove()

    rl.plot.convergence(stable, unit="s.d. of input", ax=loop)
    loop.plot(sizes, expected, "kD", mfc="none", ms=8, label="predicted, no spikes")
    loop.legend(loc="lower left")

    trials.sharex(loop)
    every_size = np.repeat(sizes, [len(errors) for errors in recall.values])
    every_error = np.concatenate(recall.values)
    trials.semilogy(every_size, every_error, "k.", alpha=0.4)
    trials.plot(sizes, recall.mean(), "k", label="mean")
    trials.axhline(PARTED, color="0.5", ls="--", label="above: spikes and rate part")
    trials.set(xlabel="neurons $N$", ylabel="mean error of overlaps in each trial")
    trials.set_ylim(bottom=0.3 * every_error.min())
    trials.legend(loc="lower left")
