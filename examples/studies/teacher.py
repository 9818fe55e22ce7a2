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
import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import _script
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

import ratelike as rl

QUICK = dict(neurons=8, duration=0.15, steps=15, noise=[0.5])
COLORS = ["#0072B2", "#009E73", "#E69F00", "#CC79A7"]
TEACHER, NEW = "0.2", "#D55E00"
GAIN, LATENTS = 1.5, 2
RECOVERED = 0.99  # a cosine above it


@dataclass
class Recovery:
    """What became of one start."""

    name: str
    start: rl.Network
    student: rl.Network
    history: np.ndarray  # loss before each step, per variance of the teacher's outputs
    final: float  # loss after the last step
    unseen: float  # the same under an input that was not trained on
    matched: np.ndarray  # for each neuron of the teacher, the student's
    cosine: np.ndarray  # of matched encoders
    cosine_before: np.ndarray  # of the start, matched alike

    @property
    def recovered(self) -> int:
        return int(np.sum(self.cosine > RECOVERED))

    @property
    def in_place(self) -> int:
        return int(np.sum(self.matched == np.arange(len(self.matched))))


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    # L-BFGS needs small differences of gradients; it is the user's choice to make.
    jax.config.update("jax_enable_x64", True)
    options = parse(arguments)
    keys = jax.random.split(jax.random.key(options.seed), 5)
    grid = rl.TimeGrid(1e-3, round(options.duration / 1e-3))
    teacher = make_teacher(options, keys[0], keys[1])
    drives = [rl.WienerDrive(LATENTS, key=key).increments(grid) for key in keys[2:4]]
    optimiser = optax.lbfgs()  # one for all, so that its step is compiled once
    recoveries = []
    for name, start in make_starts(options, teacher, keys[4]):
        recoveries.append(
            recover(name, start, teacher, drives, grid, optimiser, options.steps)
        )
        print_recovery(recoveries[-1])
    png, pdf, table = _script.files(options)
    write_table(table, teacher, recoveries)
    with mpl.rc_context(_script.STYLE):
        figure = draw(teacher, recoveries, drives[0], grid)
        figure.savefig(png, dpi=200)
        figure.savefig(pdf)
    print(f"wrote {png}, {pdf}, {table}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _script.make_parser(
        "Recovers a teacher's encoders from its output traces."
    )
    parser.add_argument(
        "--neurons", type=int, default=20, help="neurons of the teacher"
    )
    parser.add_argument("--outputs", type=int, default=4, help="output traces")
    parser.add_argument("--duration", type=float, default=0.6, help="length in s")
    parser.add_argument("--steps", type=int, default=200, help="steps of L-BFGS")
    text = "size of the noise on the encoders at the start, per their own size"
    parser.add_argument("--noise", type=float, nargs="+", default=[0.5, 1.0], help=text)
    options = _script.parse(parser, arguments, output="teacher", quick=QUICK)
    if len(options.noise) > len(COLORS):
        parser.error(f"--noise takes at most {len(COLORS)} values, got {options.noise}")
    return options


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
    """Names and students."""
    true = encoder_of(teacher)
    size = GAIN / np.sqrt(LATENTS)
    other = size * jax.random.normal(key, true.shape)
    for noise in options.noise:
        yield (
            f"teacher + {noise:g} × noise",
            eqx.tree_at(encoder_of, teacher, true + noise * other),
        )
    yield "drawn anew", eqx.tree_at(encoder_of, teacher, other)


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


def recover(name, start, teacher, drives, grid, optimiser, num_steps: int) -> Recovery:
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
    matched, cosine = match(student, teacher)
    return Recovery(
        name=name,
        start=start,
        student=student,
        history=history,
        final=float(seen(student)),
        unseen=float(unseen(student)),
        matched=matched,
        cosine=cosine,
        cosine_before=match(start, teacher)[1],
    )


def match(student: rl.Network, teacher: rl.Network) -> tuple[np.ndarray, np.ndarray]:
    """For each neuron of the teacher one of the student, and the cosine between their encoders."""

    def directions(network):
        rows = np.asarray(encoder_of(network))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    cosines = directions(teacher) @ directions(student).T
    own, theirs = linear_sum_assignment(-cosines)
    return theirs, cosines[own, theirs]


def print_recovery(recovery: Recovery) -> None:
    size = len(recovery.cosine)
    print(f"start: {recovery.name}")
    print(
        f"  loss {recovery.history[0]:.2g} -> {recovery.final:.2g} of the variance; "
        f"under an unseen input {recovery.unseen:.2g}"
    )
    print(
        f"  cosine of matched encoders: median {np.median(recovery.cosine_before):.4f} -> "
        f"{np.median(recovery.cosine):.4f}, smallest {recovery.cosine.min():.4f}"
    )
    print(
        f"  above {RECOVERED}: {recovery.recovered} of {size} neurons; "
        f"matched to themselves: {recovery.in_place} of {size}"
    )


def write_table(path: Path, teacher: rl.Network, recoveries: list[Recovery]) -> None:
    latents = range(1, LATENTS + 1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = [f"{who}_{k}" for who in ("teacher", "student") for k in latents]
        writer.writerow(["start", "neuron", "matched", "cosine", *names])
        for each in recoveries:
            student = np.asarray(encoder_of(each.student))[each.matched]
            rows = zip(each.cosine, encoder_of(teacher), student, strict=True)
            for neuron, (cosine, own, theirs) in enumerate(rows):
                values = [f"{value:.8g}" for value in (cosine, *own, *theirs)]
                writer.writerow([each.name, neuron, each.matched[neuron], *values])


# The figure


def draw(teacher, recoveries: list[Recovery], drive, grid: rl.TimeGrid) -> Figure:
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    axes = figure.subplot_mosaic([["A", "B", "C"], ["D", "D", "E"]])
    shown = recoveries[-2]  # the noisiest start from the teacher
    colors = [*COLORS[: len(recoveries) - 1], NEW]
    draw_encoders(axes["A"], teacher, shown, colors[-2])
    draw_encoders(axes["B"], teacher, recoveries[-1], NEW)
    draw_losses(axes["C"], recoveries, colors)
    draw_outputs(axes["D"], teacher, recoveries, colors, drive, grid)
    draw_cosines(axes["E"], recoveries, colors)
    titles = {
        "A": f"Start: {shown.name}",
        "B": "Start: drawn anew",
        "C": "Loss",
        "D": "First output",
        "E": "Recovery of each neuron",
    }
    _script.name_panels(axes, titles)
    return figure


def draw_encoders(ax: Axes, teacher, recovery: Recovery, color: str) -> None:
    true = np.asarray(encoder_of(teacher))
    before, after = (
        np.asarray(encoder_of(n)) for n in (recovery.start, recovery.student)
    )
    for a, b in zip(before, after, strict=True):
        ax.plot(*np.transpose([a, b]), color="0.85", linewidth=0.8, zorder=0)
    ax.plot(*before.T, "x", color="0.6", markersize=5, label="student, start")
    ax.scatter(*true.T, s=80, facecolor="none", edgecolor=TEACHER, label="teacher")
    ax.plot(*after.T, "o", color=color, markersize=4, label="student, end")
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.12)
    unit = r"(escape widths $\Delta u$ per latent)"
    ax.set(xlabel=f"$E_{{i1}}$ {unit}", ylabel=f"$E_{{i2}}$ {unit}")
    ax.legend(loc="best", fontsize=7.5, frameon=True, framealpha=0.8)


def draw_losses(ax: Axes, recoveries: list[Recovery], colors: list[str]) -> None:
    for recovery, color in zip(recoveries, colors, strict=True):
        losses = [*recovery.history, recovery.final]
        ax.semilogy(losses, color=color, label=recovery.name)
    ax.set(xlabel="step of L-BFGS", ylabel="squared error / variance of the teacher")
    ax.legend(title="start")


def draw_outputs(ax: Axes, teacher, recoveries, colors, drive, grid) -> None:
    shown = slice(0, min(grid.num_steps, 300))
    times = 1e3 * grid.times[1:][shown]

    def trace(network):
        return np.asarray(outputs(network, drive, grid))[shown, 0]

    ax.plot(times, trace(teacher), color="0.75", linewidth=4, label="teacher")
    before = trace(recoveries[-2].start)
    ax.plot(times, before, "--", color="0.5", linewidth=1, label="student, start of A")
    for recovery, color, panel in zip(recoveries[-2:], colors[-2:], "AB", strict=True):
        name = f"student, end of {panel}"
        ax.plot(times, trace(recovery.student), color=color, linewidth=1.2, label=name)
    ax.margins(x=0.01)
    ax.set(xlabel="time (ms)", ylabel="membrane $y_1$ (latents)")
    ax.legend(ncols=4, loc="upper right", bbox_to_anchor=(1, 1.14), fontsize=7.5)


def draw_cosines(ax: Axes, recoveries: list[Recovery], colors: list[str]) -> None:
    """One minus the cosine, on a logarithmic axis: smaller is better."""
    size = len(recoveries[0].cosine)
    for recovery, color in zip(recoveries, colors, strict=True):
        rank = np.arange(1, size + 1)
        distance = np.sort(np.maximum(1.0 - recovery.cosine, 1e-16))
        ax.semilogy(rank, distance, ".-", color=color, label=recovery.name)
        distance = np.sort(1.0 - recovery.cosine_before)
        ax.semilogy(rank, distance, ":", color=color, linewidth=1)
    ax.axhline(1.0 - RECOVERED, color="0.7", linewidth=0.8)
    ax.set(xlabel="neuron, by rank", ylabel="1 − cosine to matched teacher neuron")
    ax.plot([], [], ":", color="0.4", linewidth=1, label="at the start")
    ax.legend(fontsize=7.5)


if __name__ == "__main__":
    main()
