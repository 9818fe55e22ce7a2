"""Recover a teacher network's encoders from its output traces, by the exact gradient.

Of a population of neurons (the teacher) only the outputs are seen. A student with the same
neurons, biases and decoders but other encoders learns to reproduce them, by L-BFGS:

    python examples/studies/teacher.py              # some minutes
    python examples/studies/teacher.py --quick      # for a first look

Students start at the teacher's encoders plus noise of the size of the encoders (--noise 1
and others), or at encoders drawn anew. The loss has local minima, where neurons of similar
decoders take each other's parts: so the neurons of a student are matched to the teacher's
by the assignment with the largest sum of cosines between encoders.

Writes teacher.png, teacher.pdf and teacher.csv (a row for each neuron and start).
"""

from collections.abc import Callable
from functools import partial

import _script
import equinox as eqx
import jax
import numpy as np
import optax
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

import ratelike as rl

# L-BFGS needs small differences of gradients; it is the user's choice to make.
jax.config.update("jax_enable_x64", True)
options = _script.options(
    "Recovers a teacher's encoders from its output traces.",
    None,
    output="teacher",
    quick=dict(neurons=8, duration=0.15, steps=15, noise=[0.5]),
    neurons=(_script.count, 20, "neurons of the teacher"),
    outputs=(_script.count, 4, "output traces"),
    duration=(_script.seconds, 0.6, "length in s"),
    steps=(_script.count, 200, "steps of L-BFGS"),
    noise=(float, [0.5, 1.0], "noise on the encoders at the start, per their size"),
)
GRID = rl.TimeGrid(1e-3, round(options.duration / 1e-3))
RATE = rl.GeneralisedRate()
GAIN, LATENTS = 1.5, 2
OPTIMISER = optax.lbfgs()  # one for all starts, so that its step is compiled once
RECOVERED = 0.99  # a cosine above it

keys = jax.random.split(jax.random.key(options.seed), 5)
neuron = rl.SRM0(refractory=rl.ExponentialRefractory(memory=60e-3))
size = options.neurons
true = GAIN * jax.random.normal(keys[0], (size, LATENTS)) / np.sqrt(LATENTS)
# Outputs of the order of one.
decoder = 0.05 * np.sqrt(size) * jax.random.normal(keys[1], (size, options.outputs))
teacher = rl.Network([rl.Layer(neuron, true, decoder, bias=1.0)])
drives = [rl.WienerDrive(LATENTS, key=key).increments(GRID) for key in keys[2:4]]


def encoder_of(network: rl.Network) -> jax.Array:
    return network.layers[0].encoder


def error_under(drive: jax.Array) -> Callable:
    """Mean squared error of a student's outputs, per variance of the teacher's."""
    target = rl.simulate(teacher, drive, GRID, RATE).outputs
    variance = target.var()

    def error(network: rl.Network, key: jax.Array | None = None) -> jax.Array:
        return rl.rate_loss(network, drive, GRID, target) / variance

    return error


def match(student: rl.Network) -> tuple[np.ndarray, np.ndarray]:
    """For each neuron of the teacher one of the student, and their encoders' cosine."""
    own, theirs = (
        encoder / np.linalg.norm(encoder, axis=1, keepdims=True)
        for encoder in (np.asarray(true), np.asarray(encoder_of(student)))
    )
    cosines = own @ theirs.T
    rows, matched = linear_sum_assignment(-cosines)
    return matched, cosines[rows, matched]


seen, unseen = map(error_under, drives)
other = GAIN / np.sqrt(LATENTS) * jax.random.normal(keys[4], true.shape)
encoders = {f"teacher + {k:g} × noise": true + k * other for k in options.noise}
encoders["drawn anew"] = other
starts, students, losses, rows = {}, {}, {}, []
for name, encoder in encoders.items():
    starts[name] = eqx.tree_at(encoder_of, teacher, encoder)
    students[name], history = rl.fit(
        starts[name],
        seen,
        where=encoder_of,
        optimiser=OPTIMISER,
        num_steps=options.steps,
        key=jax.random.key(0),  # the loss draws nothing
        progress=partial(tqdm, desc=name, disable=None),
    )
    losses[name] = [*history, float(seen(students[name]))]
    before = np.median(match(starts[name])[1])
    matched, cosine = match(students[name])
    columns = matched, cosine, true, encoder_of(students[name])[matched]
    rows += [[name, k, *row] for k, row in enumerate(np.column_stack(columns))]
    print(
        f"start: {name}\n  loss {losses[name][0]:.2g} -> {losses[name][-1]:.2g} of the "
        f"variance; under an unseen input {float(unseen(students[name])):.2g}\n"
        f"  cosine of matched encoders: median {before:.4f} -> {np.median(cosine):.4f}, "
        f"smallest {cosine.min():.4f}\n"
        f"  above {RECOVERED}: {np.sum(cosine > RECOVERED)} of {size} neurons; "
        f"matched to themselves: {np.sum(matched == np.arange(size))} of {size}"
    )
names = ["matched", "cosine", "teacher_1", "teacher_2", "student_1", "student_2"]
_script.write_table(options, ["start", "neuron", *names], rows)

noisiest, anew = list(encoders)[-2:]
titles = {
    "A": f"Start: {noisiest}",
    "B": f"Start: {anew}",
    "C": "Loss",
    "D": "First output",
    "E": "Recovery (colours as in C)",
}
shown = {
    "teacher": teacher,
    "end of B": students[anew],
    "end of A": students[noisiest],
    "start of A": starts[noisiest],
}
runs = {name: rl.simulate(shown[name], drives[0], GRID, RATE) for name in shown}
with _script.picture(options, "ABC;DDE", titles, (11, 6.6)) as axes:
    for letter, name, color in (("A", noisiest, "C2"), ("B", anew, "C1")):
        ax, before = axes[letter], encoders[name].T
        after = encoder_of(students[name]).T
        ax.plot(*np.stack([before, after], axis=1), color="0.85", lw=0.8)
        ax.plot(*before, "x", color="0.6", label="student, start")
        ax.plot(*true.T, "ko", ms=9, mfc="none", label="teacher")
        ax.plot(*after, "o", color=color, ms=4, label="student, end")
        ax.axis("equal")
        ax.set_xlabel(r"$E_{i1}$ (escape widths $\Delta u$ per latent)")
        ax.set_ylabel("$E_{i2}$")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
    for number, name in enumerate(reversed(encoders), start=1):
        axes["C"].semilogy(losses[name], color=f"C{number}", label=name)
        for network, style in ((starts[name], ":"), (students[name], ".-")):
            distance = np.maximum(1.0 - match(network)[1], 1e-16)
            axes["E"].semilogy(np.sort(distance), style, color=f"C{number}")
    axes["C"].set(xlabel="step of L-BFGS", ylabel="error / variance of the teacher")
    axes["C"].legend(title="start")
    ax = rl.plot.traces(runs, ax=axes["D"])
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=4, columnspacing=1)
    axes["E"].axhline(1.0 - RECOVERED, color="0.7", linewidth=0.8)
    axes["E"].set_xlabel("neuron, by distance (dotted: at the start)")
    axes["E"].set_ylabel("1 − cosine to matched teacher neuron")
