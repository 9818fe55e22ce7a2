"""A hidden layer of spiking neurons learns to multiply, by the exact gradient of what its spikes will do.

SRM0 neurons encode two slow latents; one output unit is to read their product.
Encoders, decoders and biases are trained in four ways, from one start (random encoders
and the decoders of the Neural Engineering Framework), by the same optimiser:

- the exact gradient of the expected loss of the spiking network: the squared error of
  the generalised rate network plus the variance that spikes add (no spike is drawn);
- the exact gradient of the squared error of the rate network alone;
- the straight-through derivative of sampled spikes, one trial in each step;
- the same, with as many trials in each step as fit into the time of an exact gradient.

Then all of them run as spikes, under an input that they were not trained on:

    python examples/studies/fit_encoders.py              # some minutes
    python examples/studies/fit_encoders.py --quick      # for a first look

Writes fit_encoders.png, fit_encoders.pdf and fit_encoders.csv.
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
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

import ratelike as rl

QUICK = dict(neurons=30, duration=0.3, steps=10, trials=20)
COLORS = {
    "not trained": "0.45",
    "exact, with variance": "#0072B2",
    "exact, rate only": "#009E73",
    "straight-through, 1 trial": "#E69F00",
    "straight-through, equal time": "#D55E00",
}
DT = 1e-3  # s
SLOW = 0.1  # s, time constant of the latents
BURN_IN = 50  # steps


class Task(eqx.Module):
    """Two slow latents of unit variance, and the product of what two membranes make of them."""

    tau_m: jax.Array
    grid: rl.TimeGrid

    @eqx.filter_jit
    def draw(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Increments of the latents, (time, 2), and the target, (time, 1)."""
        drive = rl.WienerDrive(2, tau_m=jnp.asarray(SLOW, self.tau_m.dtype), key=key)
        slow = rl.membrane_traces(
            drive.increments(self.grid), drive.tau_m, self.grid.dt
        )
        increments = slow * self.grid.dt
        potentials = rl.membrane_traces(increments, self.tau_m, self.grid.dt)
        product = jnp.prod(potentials, axis=1, keepdims=True) * self.grid.dt
        return increments, rl.membrane_traces(product, self.tau_m, self.grid.dt)


class ExpectedLoss(eqx.Module):
    task: Task

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        increments, target = self.task.draw(key)
        return rl.expected_spiking_loss(
            network, increments, self.task.grid, target, burn_in=BURN_IN
        )


class RateLoss(eqx.Module):
    task: Task

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        increments, target = self.task.draw(key)
        return rl.rate_loss(
            network, increments, self.task.grid, target, burn_in=BURN_IN
        )


class SpikingLoss(eqx.Module):
    """The mean over trials, each of an input and spikes of its own. The first input is that of the other losses."""

    task: Task
    dynamics: rl.Spiking
    num_trials: int = eqx.field(static=True)

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        spike_keys, more = jax.random.split(key, (2, self.num_trials))
        drive_keys = jnp.concatenate([key[None], more[1:]])
        of_trial = jax.vmap(self.of_trial, in_axes=(None, 0, 0))
        return jnp.mean(of_trial(network, drive_keys, spike_keys))

    def of_trial(self, network, drive_key, spike_key) -> jax.Array:
        increments, target = self.task.draw(drive_key)
        run = rl.simulate(
            network, increments, self.task.grid, self.dynamics, key=spike_key
        )
        return jnp.mean((run.outputs - target)[BURN_IN:] ** 2)


@dataclass
class Result:
    """One way of training, and what came of it."""

    network: rl.Network
    losses: np.ndarray  # of each step, as the method sees it
    seconds_per_step: float
    trials: int = 1  # of spikes in each step, where there are any
    predicted: float = np.nan  # expected loss of the spiking network, without a spike
    rate_part: float = np.nan  # that of the rate network
    measured: float = np.nan  # from spikes
    standard_error: float = np.nan
    mean_rate: float = np.nan  # Hz


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    options = parse(arguments)
    png, pdf, table = _script.files(options)
    keys = jax.random.split(jax.random.key(options.seed), 4)
    task, long = make_task(options.duration), make_task(10 * options.duration)
    start = make_start(options.neurons, long, keys[:2])
    results = train_all(start, task, options, keys[2])
    test_key, spike_key = jax.random.split(keys[3])
    for name, result in results.items():
        evaluate(result, long, test_key, spike_key, options.trials)
        print_result(name, result)
    write_table(table, results)
    with rl.plot.style():
        figure = draw(results, long, test_key, spike_key)
        figure.savefig(png, dpi=200)
        figure.savefig(pdf)
    print(f"wrote {png}, {pdf}, {table}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _script.make_parser("Trains spiking neurons to multiply two signals.")
    count, seconds = _script.count, _script.seconds
    parser.add_argument("--neurons", type=count, default=100, help="hidden neurons")
    text = "length in s of the input of a step of training"
    parser.add_argument("--duration", type=seconds, default=1.0, help=text)
    parser.add_argument("--steps", type=count, default=400, help="steps of training")
    text = "trials of spikes in the test, of ten times the length"
    parser.add_argument("--trials", type=count, default=30, help=text)
    return _script.parse(parser, arguments, output="fit_encoders", quick=QUICK)


def make_task(duration: float) -> Task:
    return Task(rl.SRM0().tau_m, rl.TimeGrid(DT, BURN_IN + round(duration / DT)))


def make_start(size: int, task: Task, keys: jax.Array) -> rl.Network:
    """Random encoders; decoders by regression, with the variance of every neuron as its ridge."""
    encoder = jax.random.normal(keys[0], (size, 2))
    layer = rl.Layer(rl.SRM0(), encoder, jnp.zeros((size, 1)), bias=1.0)
    increments, target = task.draw(keys[1])
    # Read out one by one: the variances of the neurons themselves.
    each = rl.Layer(layer.neuron, layer.encoder, size * jnp.eye(size), layer.bias)
    variance = rl.readout_variance(each, increments, task.grid)[BURN_IN:].mean(axis=0)
    return rl.train.solve_decoders(
        rl.Network([layer]),
        increments,
        task.grid,
        target,
        ridge=variance,
        burn_in=BURN_IN,
    )


def train_all(
    start: rl.Network, task: Task, options: argparse.Namespace, key: jax.Array
) -> dict[str, Result]:
    names = list(COLORS)
    results = {names[0]: Result(start, np.zeros(0), np.nan)}
    dynamics = rl.Spiking(rl.train.StraightThrough())
    losses = [ExpectedLoss(task), RateLoss(task), SpikingLoss(task, dynamics, 1)]
    for name, loss in zip(names[1:4], losses, strict=True):
        results[name] = train(name, start, loss, options.steps, key)
    exact, _, straight = (results[name].seconds_per_step for name in names[1:4])
    trials = max(1, round(exact / straight))
    loss = SpikingLoss(task, dynamics, trials)
    results[names[4]] = train(names[4], start, loss, options.steps, key)
    results[names[4]].trials = trials
    return results


def train(name, start, loss, num_steps: int, key: jax.Array) -> Result:
    # Adam in steps relative to the size of each array: decoders are smaller than encoders.
    optimiser = optax.lamb(optax.cosine_decay_schedule(0.05, num_steps))

    def where(network):
        layer = network.layers[0]
        return [layer.encoder, layer.decoder, layer.bias]

    def run(num_steps, progress=None):
        return rl.fit(
            start,
            loss,
            where=where,
            optimiser=optimiser,
            num_steps=num_steps,
            key=key,
            progress=progress,
        )

    run(1)  # compiles
    began = time.perf_counter()
    # disable=None: no bar where nobody watches.
    network, losses = run(
        num_steps, lambda steps: tqdm(steps, desc=name, unit="step", disable=None)
    )
    return Result(network, losses, (time.perf_counter() - began) / num_steps)


def evaluate(
    result: Result, test: Task, test_key: jax.Array, spike_key: jax.Array, trials: int
) -> None:
    increments, target = test.draw(test_key)
    arguments = (result.network, increments, test.grid, target)
    result.predicted = float(rl.expected_spiking_loss(*arguments, burn_in=BURN_IN))
    result.rate_part = float(rl.rate_loss(*arguments, burn_in=BURN_IN))

    errors, rates = run_trials(
        result.network,
        increments,
        target,
        test.grid,
        jax.random.split(spike_key, trials),
    )
    result.measured = float(errors.mean())
    result.standard_error = float(errors.std(ddof=1) / np.sqrt(trials))
    result.mean_rate = float(rates.mean())


@eqx.filter_jit
def run_trials(network, increments, target, grid: rl.TimeGrid, keys: jax.Array):
    """Squared error and mean rate in Hz of each."""

    def trial(key):
        run = rl.simulate(network, increments, grid, rl.Spiking(), key=key)
        return jnp.mean((run.outputs - target)[BURN_IN:] ** 2), jnp.mean(run.rates)

    return jax.lax.map(trial, keys, batch_size=10)


def print_result(name: str, result: Result) -> None:
    print(f"{name}:")
    if len(result.losses):
        milliseconds = 1e3 * result.seconds_per_step
        trials = f", {result.trials} trials each" if result.trials > 1 else ""
        print(f"  {len(result.losses)} steps of {milliseconds:.0f} ms{trials}")
    print(
        f"  loss of spikes: predicted {result.predicted:.4f}, measured "
        f"{result.measured:.4f} +- {result.standard_error:.4f} (standard error); "
        f"of the rate {result.rate_part:.4f}; mean rate {result.mean_rate:.1f} Hz"
    )


def write_table(path: Path, results: dict[str, Result]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = ["predicted", "measured", "standard_error", "rate_part", "mean_rate"]
        writer.writerow(["training", "steps", "trials", "seconds_per_step", *names])
        for training, result in results.items():
            values = [getattr(result, name) for name in ["seconds_per_step", *names]]
            numbers = [f"{value:.6g}" for value in values]
            writer.writerow([training, len(result.losses), result.trials, *numbers])


# The figure


def draw(results: dict[str, Result], test: Task, test_key, spike_key) -> Figure:
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    axes = figure.subplot_mosaic(
        [["A", "A", "B"], ["C", "D", "E"]], width_ratios=[1, 1, 1.1]
    )
    exact = results["exact, with variance"]
    draw_outputs(axes["A"], exact.network, test, test_key, spike_key)
    draw_histories(axes["B"], results)
    for letter, name in zip("CD", ("not trained", "exact, with variance"), strict=True):
        draw_encoders(axes[letter], results[name].network)
    draw_losses(axes["E"], results)
    titles = {
        "A": "Output after training, on a new input",
        "B": "Training (colours as in E)",
        "C": "Encoders at the start",
        "D": "Encoders trained (exact, with variance)",
        "E": "Squared error of the spiking network",
    }
    _script.name_panels(axes, titles)
    return figure


def draw_outputs(ax: Axes, network, test: Task, test_key, spike_key) -> None:
    increments, target = test.draw(test_key)
    shown = slice(BURN_IN, BURN_IN + 1000)
    times = 1e3 * test.grid.times[1:][shown]

    def trace(dynamics):
        run = rl.simulate(network, increments, test.grid, dynamics, key=spike_key)
        return np.asarray(run.outputs)[shown, 0]

    ax.plot(times, trace(rl.Spiking()), color="0.7", linewidth=0.8, label="spiking")
    rate = trace(rl.GeneralisedRate())
    ax.plot(times, rate, color="#0072B2", linewidth=1.4, label="generalised rate")
    ax.plot(times, target[shown, 0], "--", color="black", linewidth=1, label="target")
    ax.margins(x=0.01)
    ax.set(xlabel="time (ms)", ylabel="product $y$ (latents squared)")
    ax.legend(ncols=3, loc="upper right")


def draw_histories(ax: Axes, results: dict[str, Result]) -> None:
    for name, result in results.items():
        steps = len(result.losses)
        if steps == 0:
            continue
        window = max(1, steps // 15)
        smooth = np.convolve(result.losses, np.ones(window) / window, "valid")
        seconds = result.seconds_per_step * (np.arange(len(smooth)) + window / 2)
        ax.loglog(seconds, smooth, color=COLORS[name])
    ax.set(xlabel="time (s)", ylabel="loss in training, running mean")


def draw_encoders(ax: Axes, network: rl.Network) -> None:
    layer = network.layers[0]
    encoder, decoder = np.asarray(layer.encoder), np.asarray(layer.decoder)[:, 0]
    limit = np.abs(decoder).max()
    points = ax.scatter(
        *encoder.T,
        c=decoder,
        s=22,
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        edgecolor="0.5",
        linewidth=0.5,
    )
    bar = ax.figure.colorbar(points, ax=ax)
    bar.set_label("decoder $D_i$ (latents squared × s)")
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel=r"$E_{i1}$ (escape widths $\Delta u$ per latent)", ylabel="$E_{i2}$")


def draw_losses(ax: Axes, results: dict[str, Result]) -> None:
    for row, (name, result) in enumerate(results.items()):
        ax.barh(row, result.measured, color=COLORS[name], alpha=0.35, height=0.6)
        ax.barh(row, result.rate_part, color=COLORS[name], height=0.6)
        width = 2 * result.standard_error
        ax.errorbar(result.measured, row, xerr=width, color="black", capsize=2)
        ax.plot(result.predicted, row, "D", color="black", markersize=5)
        ax.text(0, row - 0.33, name, va="bottom", fontsize=8)
    ax.plot([], [], "D", color="black", markersize=5, label="predicted without spikes")
    ax.errorbar([], [], xerr=[], color="black", label="measured, ± 2 standard errors")
    ax.barh([0], [0], color="0.3", label="of it, error of the rate")
    ax.set(yticks=[], xlabel="mean squared error (latents$^4$)")
    ax.set_ylim(len(results) - 0.4, -1.9)
    ax.legend(loc="upper right", fontsize=7.5)


if __name__ == "__main__":
    main()
