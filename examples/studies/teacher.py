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

from collections.abc import Callable, Sequence
from typing import NamedTuple

import _script
import equinox as eqx
import jax
import numpy as np
import optax
from matplotlib.axes import Axes
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

import ratelike as rl

QUICK = dict(neurons=8, duration=0.15, steps=15, noise=[0.5])
GAIN, LATENTS = 1.5, 2
OPTIMISER = optax.lbfgs()  # one for all starts, so that its step is compiled once
RECOVERED = 0.99  # a cosine above it


class Recovery(NamedTuple):
    """What became of one start."""

    start: rl.Network
    student: rl.Network
    losses: np.ndarray  # before each step and after the last


def encoder_of(network: rl.Network) -> jax.Array:
    return network.layers[0].encoder


def make_teacher(neurons: int, outputs: int, keys: jax.Array) -> rl.Network:
    neuron = rl.SRM0(refractory=rl.ExponentialRefractory(memory=60e-3))
    encoder = GAIN * jax.random.normal(keys[0], (neurons, LATENTS)) / np.sqrt(LATENTS)
    # Outputs of the order of one.
    decoder = 0.05 * np.sqrt(neurons) * jax.random.normal(keys[1], (neurons, outputs))
    return rl.Network([rl.Layer(neuron, encoder, decoder, bias=1.0)])


def error_from(teacher: rl.Network, drive: jax.Array, grid: rl.TimeGrid) -> Callable:
    """Mean squared error of a student's outputs, per variance of the teacher's."""
    target = rl.simulate(teacher, drive, grid, rl.GeneralisedRate()).outputs
    variance = target.var()

    def error(network: rl.Network, key: jax.Array | None = None) -> jax.Array:
        return rl.rate_loss(network, drive, grid, target) / variance

    return error


def recover(
    name: str, encoder: jax.Array, teacher: rl.Network, errors: list, num_steps: int
) -> Recovery:
    seen, unseen = errors
    start = eqx.tree_at(encoder_of, teacher, encoder)
    student, history = rl.fit(
        start,
        seen,
        where=encoder_of,
        optimiser=OPTIMISER,
        num_steps=num_steps,
        key=jax.random.key(0),  # the loss draws nothing
        progress=lambda steps: tqdm(steps, desc=name, unit="step", disable=None),
    )
    losses = np.append(history, float(seen(student)))
    matched, cosine = match(student, teacher)
    before, size = np.median(match(start, teacher)[1]), len(cosine)
    print(
        f"start: {name}\n  loss {losses[0]:.2g} -> {losses[-1]:.2g} of the variance; "
        f"under an unseen input {float(unseen(student)):.2g}\n"
        f"  cosine of matched encoders: median {before:.4f} -> {np.median(cosine):.4f}, "
        f"smallest {cosine.min():.4f}\n"
        f"  above {RECOVERED}: {np.sum(cosine > RECOVERED)} of {size} neurons; "
        f"matched to themselves: {np.sum(matched == np.arange(size))} of {size}"
    )
    return Recovery(start, student, losses)


def match(student: rl.Network, teacher: rl.Network) -> tuple[np.ndarray, np.ndarray]:
    """For each neuron of the teacher one of the student, and their encoders' cosine."""
    own, theirs = (np.asarray(encoder_of(each)) for each in (teacher, student))
    norms = np.linalg.norm(own, axis=1)[:, None] * np.linalg.norm(theirs, axis=1)
    cosines = own @ theirs.T / norms
    rows, matched = linear_sum_assignment(-cosines)
    return matched, cosines[rows, matched]


def draw_encoders(ax: Axes, *networks: rl.Network, color: str) -> None:
    """Of the teacher, and of a student at the start and at the end."""
    true, before, after = (np.asarray(encoder_of(each)).T for each in networks)
    ax.plot(*np.stack([before, after], axis=1), color="0.85", linewidth=0.8, zorder=0)
    ax.plot(*before, "x", color="0.6", label="student, start")
    ax.scatter(*true, s=80, facecolor="none", edgecolor="0.2", label="teacher")
    ax.plot(*after, "o", color=color, markersize=4, label="student, end")
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.12)
    unit = r"(escape widths $\Delta u$ per latent)"
    ax.set(xlabel=f"$E_{{i1}}$ {unit}", ylabel=f"$E_{{i2}}$ {unit}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, columnspacing=1)


def main(arguments: Sequence[str] | None = None) -> None:
    # L-BFGS needs small differences of gradients; it is the user's choice to make.
    jax.config.update("jax_enable_x64", True)
    options = _script.options(
        "Recovers a teacher's encoders from its output traces.",
        arguments,
        output="teacher",
        quick=QUICK,
        neurons=(int, 20, "neurons of the teacher"),
        outputs=(int, 4, "output traces"),
        duration=(float, 0.6, "length in s"),
        steps=(int, 200, "steps of L-BFGS"),
        noise=(float, [0.5, 1.0], "noise on the encoders at the start, per their size"),
    )
    keys = jax.random.split(jax.random.key(options.seed), 5)
    grid = rl.TimeGrid(1e-3, round(options.duration / 1e-3))
    teacher = make_teacher(options.neurons, options.outputs, keys)
    drives = [rl.WienerDrive(LATENTS, key=key).increments(grid) for key in keys[2:4]]
    errors = [error_from(teacher, drive, grid) for drive in drives]
    true = encoder_of(teacher)
    other = GAIN / np.sqrt(LATENTS) * jax.random.normal(keys[4], true.shape)
    starts = {f"teacher + {k:g} × noise": true + k * other for k in options.noise}
    starts["drawn anew"] = other
    recoveries = {
        name: recover(name, encoder, teacher, errors, options.steps)
        for name, encoder in starts.items()
    }
    rows = []
    for name, (_, student, _) in recoveries.items():
        matched, cosine = match(student, teacher)
        columns = matched, cosine, true, encoder_of(student)[matched]
        rows += [[name, k, *row] for k, row in enumerate(np.column_stack(columns))]
    names = ["matched", "cosine", "teacher_1", "teacher_2", "student_1", "student_2"]
    _script.write_table(options, ["start", "neuron", *names], rows)
    (noisiest, a), (anew, b) = list(recoveries.items())[-2:]
    titles = {
        "A": f"Start: {noisiest}",
        "B": f"Start: {anew}",
        "C": "Loss",
        "D": "First output",
        "E": "Recovery (colours as in C)",
    }
    shown = {
        "teacher": teacher,
        "student, end of B": b.student,
        "student, end of A": a.student,
        "student, start of A": a.start,
    }
    dynamics = rl.GeneralisedRate()
    runs = {name: rl.simulate(shown[name], drives[0], grid, dynamics) for name in shown}
    with _script.picture(options, "ABC;DDE", titles, (11, 6.6)) as axes:
        draw_encoders(axes["A"], teacher, a.start, a.student, color="C2")
        draw_encoders(axes["B"], teacher, b.start, b.student, color="C1")
        rank = np.arange(1, options.neurons + 1)
        for number, (name, each) in enumerate(reversed(recoveries.items()), start=1):
            color = f"C{number}"
            axes["C"].semilogy(each.losses, color=color, label=name)
            for network, style in ((each.start, ":"), (each.student, ".-")):
                distance = np.maximum(1.0 - match(network, teacher)[1], 1e-16)
                axes["E"].semilogy(rank, np.sort(distance), style, color=color)
        axes["C"].set(xlabel="step of L-BFGS", ylabel="error / variance of the teacher")
        axes["C"].legend(title="start")
        ax = rl.plot.traces(runs, ax=axes["D"])
        ax.lines[0].set(color="0.75", linewidth=4)
        ax.lines[-1].set(color="0.6", linestyle="--", zorder=1.5)
        place: dict = dict(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=4)
        ax.legend(**place, handlelength=1.2, columnspacing=1.0)
        axes["E"].axhline(1.0 - RECOVERED, color="0.7", linewidth=0.8)
        axes["E"].set_xlabel("neuron, by rank (dotted: at the start)")
        axes["E"].set_ylabel("1 − cosine to matched teacher neuron")


if __name__ == "__main__":
    main()
