"""A hidden layer of spiking neurons learns to multiply, by the exact gradient of what its spikes will do.

SRM0 neurons encode two slow latents; one output unit is to read their product.
Encoders, decoders and biases are trained in four ways, from one start (random encoders
and the decoders of the Neural Engineering Framework), by the same optimiser, with as
many inputs in each step:

- the exact gradient of the expected loss of the spiking network: the squared error of
  the generalised rate network plus the variance that spikes add (no spike is drawn);
- the exact gradient of the squared error of the rate network alone;
- the straight-through derivative of sampled spikes, in as many steps;
- the same, with as many more inputs in each step as the time of the first allows.

Then all of them run as spikes, under an input that they were not trained on. All of it
is done for several seeds, of weights, inputs and spikes; the figure is of the first.

    python examples/studies/fit_encoders.py              # some minutes
    python examples/studies/fit_encoders.py --quick      # for a first look

Writes fit_encoders.png, fit_encoders.pdf and fit_encoders.csv.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import _script
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from tqdm import tqdm

import ratelike as rl

QUICK = dict(neurons=30, duration=0.3, steps=10, inputs=2, trials=20, seeds=2)
COLORS = {
    "not trained": "0.45",
    "exact, with variance": "#0072B2",
    "exact, rate only": "#009E73",
    "straight-through, equal steps": "#E69F00",
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


class SpikingLoss(eqx.Module):
    """Of one trial, with the straight-through derivative. The input is that of the other losses."""

    task: Task

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        increments, target = self.task.draw(key)
        dynamics = rl.Spiking(rl.train.StraightThrough())
        spike_key = jax.random.fold_in(key, 1)
        run = rl.simulate(network, increments, self.task.grid, dynamics, key=spike_key)
        return jnp.mean((run.outputs - target)[BURN_IN:] ** 2)


class ExactLoss(eqx.Module):
    """`rl.expected_spiking_loss` or `rl.rate_loss`."""

    task: Task
    of: Callable = eqx.field(static=True)

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        increments, target = self.task.draw(key)
        return self.of(network, increments, self.task.grid, target, burn_in=BURN_IN)


@dataclass
class Result:
    """One way of training, and what came of it."""

    network: rl.Network
    losses: np.ndarray  # of each step, as the method sees it
    inputs: int  # in each step
    seconds_per_step: float
    predicted: float = np.nan  # expected loss of the spiking network, without a spike
    measured: float = np.nan  # from spikes
    standard_error: float = np.nan
    rate_part: float = np.nan  # that of the rate network
    mean_rate: float = np.nan  # Hz


MEASURES = ["predicted", "measured", "standard_error", "rate_part", "mean_rate"]


def main(arguments: Sequence[str] | None = None) -> None:
    count, seconds = _script.count, _script.seconds
    options = _script.options(
        "Trains spiking neurons to multiply two signals.",
        arguments,
        output="fit_encoders",
        quick=QUICK,
        neurons=(count, 100, "hidden neurons"),
        duration=(seconds, 1.0, "length in s of the input of a step of training"),
        steps=(count, 400, "steps of training"),
        inputs=(count, 4, "inputs in each of them"),
        trials=(count, 30, "trials of spikes in the test, of ten times the length"),
        seeds=(count, 3, "seeds, from the first on, of everything"),
    )
    seeds = range(options.seed, options.seed + options.seeds)
    runs = {seed: run_seed(seed, options) for seed in seeds}
    rows = [
        [seed, name, len(r.losses), r.inputs, r.seconds_per_step, *(getattr(r, each) for each in MEASURES)]
        for seed, run in runs.items()
        for name, r in run.results.items()
    ]  # fmt: skip
    names = ["seed", "training", "steps", "inputs", "seconds_per_step", *MEASURES]
    _script.write_table(options, names, rows)
    draw(options, runs[options.seed], rows)


@dataclass
class Run:
    """All ways of training, of one seed, and the task of the test."""

    start: rl.Network
    results: dict[str, Result]
    test: Task
    test_key: jax.Array
    spike_key: jax.Array


def run_seed(seed: int, options: argparse.Namespace) -> Run:
    keys = jax.random.split(jax.random.key(seed), 4)
    task, long = make_task(options.duration), make_task(10 * options.duration)
    start = make_start(options.neurons, long, keys[:2])
    results = train_all(start, task, options, keys[2])
    test_key, spike_key = jax.random.split(keys[3])
    print(f"seed {seed}")
    for name, result in results.items():
        evaluate(result, long, test_key, spike_key, options.trials)
        print_result(name, result)
    return Run(start, results, long, test_key, spike_key)


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
    untrained, variance, rate, equal_steps, equal_time = COLORS
    losses = {
        variance: ExactLoss(task, rl.expected_spiking_loss),
        rate: ExactLoss(task, rl.rate_loss),
        equal_steps: SpikingLoss(task),
    }
    results = {untrained: Result(start, np.zeros(0), 0, np.nan)}
    for name, loss in losses.items():
        results[name] = train(name, start, loss, options.steps, options.inputs, key)
    spent, straight = (
        results[name].seconds_per_step for name in (variance, equal_steps)
    )
    more = max(1, round(options.inputs * spent / straight))
    loss = losses[equal_steps]
    results[equal_time] = train(equal_time, start, loss, options.steps, more, key)
    return results


def train(name, start, loss, num_steps: int, inputs: int, key: jax.Array) -> Result:
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
            batch_size=inputs,
            progress=progress,
        )

    run(1)  # compiles
    began = time.perf_counter()
    # disable=None: no bar where nobody watches.
    network, losses = run(
        num_steps, lambda steps: tqdm(steps, desc=name, unit="step", disable=None)
    )
    seconds_per_step = (time.perf_counter() - began) / num_steps
    return Result(network, losses, inputs, seconds_per_step)


def evaluate(
    result: Result, test: Task, test_key: jax.Array, spike_key: jax.Array, trials: int
) -> None:
    increments, target = test.draw(test_key)
    arguments = (result.network, increments, test.grid, target)
    result.predicted = float(rl.expected_spiking_loss(*arguments, burn_in=BURN_IN))
    result.rate_part = float(rl.rate_loss(*arguments, burn_in=BURN_IN))
    keys = jax.random.split(spike_key, trials)
    errors, rates = run_trials(*arguments, keys)
    result.measured = float(errors.mean())
    result.standard_error = float(errors.std(ddof=1) / np.sqrt(trials))
    result.mean_rate = float(rates.mean())


@eqx.filter_jit
def run_trials(network, increments, grid: rl.TimeGrid, target, keys: jax.Array):
    """Squared error and mean rate in Hz of each."""

    def trial(key):
        run = rl.simulate(network, increments, grid, rl.Spiking(), key=key)
        return jnp.mean((run.outputs - target)[BURN_IN:] ** 2), jnp.mean(run.rates)

    return jax.lax.map(trial, keys, batch_size=10)


def print_result(name: str, result: Result) -> None:
    print(f"{name}:")
    if len(result.losses):
        milliseconds = 1e3 * result.seconds_per_step
        each = f"{result.inputs} inputs, {milliseconds:.0f} ms"
        print(f"  {len(result.losses)} steps of {each}")
    print(
        f"  loss of spikes: predicted {result.predicted:.4f}, measured "
        f"{result.measured:.4f} +- {result.standard_error:.4f} (standard error); "
        f"of the rate {result.rate_part:.4f}; mean rate {result.mean_rate:.1f} Hz"
    )


# The figure


def draw(options: argparse.Namespace, first: Run, rows: list[list]) -> None:
    """Of the first seed, but for E, which is of all."""
    titles = {
        "A": "Trained, on a new input",
        "B": "Training (colours as in E)",
        "C": "Encoders at the start",
        "D": "Encoders trained (exact, with variance)",
        "E": "Squared error of the spikes",
    }
    layout = dict(width_ratios=[1, 1, 1.1])
    trained = first.results["exact, with variance"].network
    with _script.picture(options, "AAB;CDE", titles, (11, 6.6), **layout) as axes:
        draw_outputs(axes["A"], trained, first.test, first.test_key, first.spike_key)
        draw_histories(axes["B"], first.results)
        draw_encoders(axes["C"], first.start)
        draw_encoders(axes["D"], trained)
        draw_losses(axes["E"], rows)


def draw_outputs(ax: Axes, network, test: Task, test_key, spike_key) -> None:
    increments, target = test.draw(test_key)
    kinds = {"spiking": rl.Spiking(), "generalised rate": rl.GeneralisedRate()}
    runs = {
        name: rl.simulate(network, increments, test.grid, kind, key=spike_key)
        for name, kind in kinds.items()
    }
    rl.plot.traces(runs, start=BURN_IN * DT, ax=ax)
    ax.lines[0].set_linewidth(0.8)
    ax.plot(1e3 * test.grid.times[1:], target, "k--", linewidth=1, label="target")
    shown = slice(BURN_IN, BURN_IN + 1000)
    both = np.stack([runs["spiking"].outputs[shown], target[shown]])
    ax.set_xlim(1e3 * BURN_IN * DT, 1e3 * BURN_IN * DT + 1000)
    ax.set_ylim(1.1 * both.min(), 1.1 * both.max())
    ax.set_ylabel("product $y$ (latents squared)")
    ax.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 0.98))


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


def draw_losses(ax: Axes, rows: list[list]) -> None:
    """Means over seeds as bars, seeds as points."""
    for height, (name, color) in enumerate(COLORS.items()):
        measures = np.array([row[-len(MEASURES) :] for row in rows if row[1] == name])
        predicted, measured, _, rate, _ = measures.T
        ax.barh(height, measured.mean(), color=color, alpha=0.35, height=0.6)
        ax.barh(height, rate.mean(), color=color, height=0.6)
        heights = height + np.linspace(-0.15, 0.15, len(measured))
        ax.plot(measured, heights, "o", color="black", markersize=4)
        ax.plot(predicted, heights, "|", color="black", markersize=9)
        of_axes = ax.get_yaxis_transform()
        ax.text(0.01, height - 0.33, name, transform=of_axes, va="bottom", fontsize=8.5)
    ax.plot([], [], "o", color="black", markersize=4, label="measured, each seed")
    ax.plot([], [], "|", color="black", markersize=9, label="predicted without spikes")
    ax.barh([0], [0], color="0.3", label="of it, error of the rate")
    ax.set(xscale="log", yticks=[], xlabel="mean squared error (latents$^4$)")
    ax.set_ylim(len(COLORS) - 0.4, -2.4)
    ax.legend(loc="upper right", fontsize=8.5)


if __name__ == "__main__":
    main()
