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


class SpikingLoss(eqx.Module):
    """The mean over trials, each of an input and spikes of its own. The first input is that of the other losses."""

    task: Task
    num_trials: int = eqx.field(static=True)

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        spike_keys, more = jax.random.split(key, (2, self.num_trials))
        drive_keys = jnp.concatenate([key[None], more[1:]])
        of_trial = jax.vmap(self.of_trial, in_axes=(None, 0, 0))
        return jnp.mean(of_trial(network, drive_keys, spike_keys))

    def of_trial(self, network, drive_key, spike_key) -> jax.Array:
        increments, target = self.task.draw(drive_key)
        dynamics = rl.Spiking(rl.train.StraightThrough())
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
    seconds_per_step: float
    trials: int = 1  # of spikes in each step, where there are any
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
        trials=(count, 30, "trials of spikes in the test, of ten times the length"),
    )
    keys = jax.random.split(jax.random.key(options.seed), 4)
    task, long = make_task(options.duration), make_task(10 * options.duration)
    start = make_start(options.neurons, long, keys[:2])
    results = train_all(start, task, options, keys[2])
    test_key, spike_key = jax.random.split(keys[3])
    for name, result in results.items():
        evaluate(result, long, test_key, spike_key, options.trials)
        print_result(name, result)
    rows = [
        [name, len(r.losses), r.trials, r.seconds_per_step, *(getattr(r, each) for each in MEASURES)]
        for name, r in results.items()
    ]  # fmt: skip
    names = ["training", "steps", "trials", "seconds_per_step", *MEASURES]
    _script.write_table(options, names, rows)
    titles = {
        "A": "Trained, on a new input",
        "B": "Training (colours as in E)",
        "C": "Encoders at the start",
        "D": "Encoders trained (exact, with variance)",
        "E": "Squared error of the spikes",
    }
    layout = dict(width_ratios=[1, 1, 1.1])
    trained = results["exact, with variance"].network
    with _script.picture(options, "AAB;CDE", titles, (11, 6.6), **layout) as axes:
        draw_outputs(axes["A"], trained, long, test_key, spike_key)
        draw_histories(axes["B"], results)
        draw_encoders(axes["C"], start)
        draw_encoders(axes["D"], trained)
        draw_losses(axes["E"], results)


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
    exact = (ExactLoss(task, of) for of in (rl.expected_spiking_loss, rl.rate_loss))
    for name, loss in zip(names[1:], [*exact, SpikingLoss(task, 1)], strict=False):
        results[name] = train(name, start, loss, options.steps, key)
    spent, _, straight = (results[name].seconds_per_step for name in names[1:4])
    trials = max(1, round(spent / straight))
    loss = SpikingLoss(task, trials)
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
        trials = f", {result.trials} trials each" if result.trials > 1 else ""
        print(f"  {len(result.losses)} steps of {milliseconds:.0f} ms{trials}")
    print(
        f"  loss of spikes: predicted {result.predicted:.4f}, measured "
        f"{result.measured:.4f} +- {result.standard_error:.4f} (standard error); "
        f"of the rate {result.rate_part:.4f}; mean rate {result.mean_rate:.1f} Hz"
    )


# The figure


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


def draw_losses(ax: Axes, results: dict[str, Result]) -> None:
    for row, (name, result) in enumerate(results.items()):
        ax.barh(row, result.measured, color=COLORS[name], alpha=0.35, height=0.6)
        ax.barh(row, result.rate_part, color=COLORS[name], height=0.6)
        width = 2 * result.standard_error
        ax.errorbar(result.measured, row, xerr=width, color="black", capsize=2)
        ax.plot(result.predicted, row, "D", color="black", markersize=5)
        ax.text(0, row - 0.33, name, va="bottom", fontsize=8.5)
    ax.plot([], [], "D", color="black", markersize=5, label="predicted without spikes")
    ax.errorbar([], [], xerr=[], color="black", label="measured, ± 2 standard errors")
    ax.barh([0], [0], color="0.3", label="of it, error of the rate")
    ax.set(yticks=[], xlabel="mean squared error (latents$^4$)")
    ax.set_ylim(len(results) - 0.4, -2.4)
    ax.legend(loc="upper right", fontsize=8.5)


if __name__ == "__main__":
    main()
