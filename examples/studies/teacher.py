"""Recover a teacher network's encoders from its output traces, by the exact gradient.

The outputs of a population of SRM0 neurons (the teacher) are all that is seen of it. A
student with the same neurons, biases and decoders but other encoders learns to
reproduce them, through GeneralisedRate(), by L-BFGS steps of ratelike.fit:

    python examples/studies/teacher.py              # some minutes
    python examples/studies/teacher.py --quick      # for a first look

Students start at the teacher's encoders plus Gaussian noise, of the size of the
encoders (--noise 1 and others), or at encoders drawn anew. Known decoders tell the
neurons apart, but the loss has local minima: neurons of similar decoders can take each
other's parts. So every student's neurons are matched to the teacher's by the assignment
with the largest sum of cosines, and what is reported is the cosine of matched encoders,
and how many neurons are matched to themselves.

Writes teacher.png, teacher.pdf and teacher.csv (a row for each neuron and start).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import _script
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

import ratelike as rl

QUICK = dict(neurons=8, duration=0.15, steps=15, noise=[0.5])
COLORS = ["#0072B2", "#009E73", "#E69F00", "#CC79A7"]
NEW = "#D55E00"
GAIN, LATENTS = 1.5, 2
RECOVERED = 0.99  # a cosine above it


@dataclass
class Recovery:
    """What became of one start."""

    name: str
    color: str
    start: rl.Network
    student: rl.Network
    losses: (
        np.ndarray
    )  # before each step and after the last, per variance of the teacher's outputs
    matched: np.ndarray  # for each neuron of the teacher, the student's
    cosine: np.ndarray  # of matched encoders
    cosine_before: np.ndarray  # of the start, matched alike


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
    teacher = make_teacher(options, keys[0], keys[1])
    drives = [rl.WienerDrive(LATENTS, key=key).increments(grid) for key in keys[2:4]]
    optimiser = optax.lbfgs()  # one for all, so that its step is compiled once
    starts = make_starts(options, teacher, keys[4])
    recoveries = [
        recover(*start, teacher, drives, grid, optimiser, options.steps)
        for start in starts
    ]
    write_table(options, teacher, recoveries)
    noisiest, anew = recoveries[-2:]
    titles = {
        "A": f"Start: {noisiest.name}",
        "B": "Start: drawn anew",
        "C": "Loss",
        "D": "First output",
        "E": "Recovery of each neuron",
    }
    with _script.picture(options, "ABC;DDE", titles, (11, 6.6)) as axes:
        draw_encoders(axes["A"], teacher, noisiest)
        draw_encoders(axes["B"], teacher, anew)
        for each in recoveries:
            axes["C"].semilogy(each.losses, color=each.color, label=each.name)
        text = "squared error / variance of the teacher"
        axes["C"].set(xlabel="step of L-BFGS", ylabel=text)
        axes["C"].legend(title="start")
        draw_outputs(axes["D"], teacher, recoveries[-2:], drives[0], grid)
        draw_cosines(axes["E"], recoveries)


def make_teacher(
    options: argparse.Namespace, encoder_key: jax.Array, decoder_key: jax.Array
) -> rl.Network:
    neuron = rl.SRM0(refractory=rl.ExponentialRefractory(memory=60e-3))
    size = options.neurons
    shape = (size, LATENTS)
    encoder = GAIN * jax.random.normal(encoder_key, shape) / np.sqrt(LATENTS)
    # Outputs of the order of one.
    decoder = jax.random.normal(decoder_key, (size, options.outputs))
    layer = rl.Layer(neuron, encoder, 0.05 * np.sqrt(size) * decoder, bias=1.0)
    return rl.Network([layer])


def encoder_of(network: rl.Network) -> jax.Array:
    return network.layers[0].encoder


def make_starts(options: argparse.Namespace, teacher: rl.Network, key: jax.Array):
    """Names, colours and students."""
    true = encoder_of(teacher)
    size = GAIN / np.sqrt(LATENTS)
    other = size * jax.random.normal(key, true.shape)
    for noise, color in zip(options.noise, COLORS, strict=False):
        start = eqx.tree_at(encoder_of, teacher, true + noise * other)
        yield f"teacher + {noise:g} × noise", color, start
    yield "drawn anew", NEW, eqx.tree_at(encoder_of, teacher, other)


def outputs(network: rl.Network, drive: jax.Array, grid: rl.TimeGrid) -> jax.Array:
    return rl.simulate(network, drive, grid, rl.GeneralisedRate()).outputs


class TraceError(eqx.Module):
    """Mean squared error of the outputs, per variance of the target."""

    drive: jax.Array
    target: jax.Array
    grid: rl.TimeGrid

    def __call__(self, network: rl.Network, key: jax.Array | None = None) -> jax.Array:
        error = outputs(network, self.drive, self.grid) - self.target
        return jnp.mean(error**2) / jnp.var(self.target)


def recover(
    name, color, start, teacher, drives, grid, optimiser, num_steps: int
) -> Recovery:
    seen, unseen = (TraceError(d, outputs(teacher, d, grid), grid) for d in drives)
    student, history = rl.fit(
        start,
        seen,
        where=encoder_of,
        optimiser=optimiser,
        num_steps=num_steps,
        key=jax.random.key(0),  # the loss draws nothing
        progress=lambda steps: tqdm(steps, desc=name, unit="step", disable=None),
    )
    losses = np.append(history, float(seen(student)))
    matched, cosine = match(student, teacher)
    before, size = match(start, teacher)[1], len(cosine)
    in_place = int(np.sum(matched == np.arange(size)))
    print(
        f"start: {name}\n  loss {losses[0]:.2g} -> {losses[-1]:.2g} of the variance; "
        f"under an unseen input {float(unseen(student)):.2g}\n"
        f"  cosine of matched encoders: median {np.median(before):.4f} -> "
        f"{np.median(cosine):.4f}, smallest {cosine.min():.4f}\n"
        f"  above {RECOVERED}: {np.sum(cosine > RECOVERED)} of {size} neurons; "
        f"matched to themselves: {in_place} of {size}"
    )
    return Recovery(name, color, start, student, losses, matched, cosine, before)


def match(student: rl.Network, teacher: rl.Network) -> tuple[np.ndarray, np.ndarray]:
    """For each neuron of the teacher one of the student, and the cosine between their encoders."""

    def directions(network):
        rows = np.asarray(encoder_of(network))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    cosines = directions(teacher) @ directions(student).T
    own, theirs = linear_sum_assignment(-cosines)
    return theirs, cosines[own, theirs]


def write_table(options, teacher: rl.Network, recoveries: list[Recovery]) -> None:
    latents = range(1, LATENTS + 1)
    names = [f"{who}_{k}" for who in ("teacher", "student") for k in latents]
    rows = [
        [each.name, neuron, int(each.matched[neuron]), cosine, *own, *theirs]
        for each in recoveries
        for neuron, (cosine, own, theirs) in enumerate(
            zip(
                each.cosine,
                np.asarray(encoder_of(teacher)),
                np.asarray(encoder_of(each.student))[each.matched],
                strict=True,
            )
        )
    ]
    _script.write_table(options, ["start", "neuron", "matched", "cosine", *names], rows)


# The figure


def draw_encoders(ax: Axes, teacher, recovery: Recovery) -> None:
    true, before, after = (
        np.asarray(encoder_of(each))
        for each in (teacher, recovery.start, recovery.student)
    )
    for pair in zip(before, after, strict=True):
        ax.plot(*np.transpose(pair), color="0.85", linewidth=0.8, zorder=0)
    ax.plot(*before.T, "x", color="0.6", label="student, start")
    ax.scatter(*true.T, s=80, facecolor="none", edgecolor="0.2", label="teacher")
    ax.plot(*after.T, "o", color=recovery.color, markersize=4, label="student, end")
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.12)
    unit = r"(escape widths $\Delta u$ per latent)"
    ax.set(xlabel=f"$E_{{i1}}$ {unit}", ylabel=f"$E_{{i2}}$ {unit}")
    place: dict = dict(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
    ax.legend(**place, columnspacing=1.0)


def draw_outputs(ax: Axes, teacher, both: list[Recovery], drive, grid) -> None:
    shown = slice(0, min(grid.num_steps, 300))

    def trace(network, *style, **more):
        values = outputs(network, drive, grid)[shown, 0]
        ax.plot(1e3 * grid.times[1:][shown], values, *style, **more)

    trace(teacher, color="0.75", linewidth=4, label="teacher")
    trace(both[0].start, "--", color="0.5", linewidth=1, label="student, start of A")
    for each, panel in zip(both, "AB", strict=True):
        trace(each.student, color=each.color, label=f"student, end of {panel}")
    ax.margins(x=0.01)
    ax.set(xlabel="time (ms)", ylabel="membrane $y_1$ (latents)")
    place: dict = dict(loc="lower right", bbox_to_anchor=(1, 0.99), ncols=4)
    ax.legend(**place, handlelength=1.2, columnspacing=1.0)


def draw_cosines(ax: Axes, recoveries: list[Recovery]) -> None:
    """One minus the cosine, on a logarithmic axis: smaller is better."""
    for each in recoveries:
        rank = np.arange(1, len(each.cosine) + 1)
        distance = np.sort(np.maximum(1.0 - each.cosine, 1e-16))
        ax.semilogy(rank, distance, ".-", color=each.color, label=each.name)
        before = np.sort(1.0 - each.cosine_before)
        ax.semilogy(rank, before, ":", color=each.color, linewidth=1)
    ax.axhline(1.0 - RECOVERED, color="0.7", linewidth=0.8)
    ax.set(xlabel="neuron, by rank", ylabel="1 − cosine to matched teacher neuron")
    ax.plot([], [], ":", color="0.4", linewidth=1, label="at the start")
    ax.legend()


if __name__ == "__main__":
    main()
