"""A hidden layer of spiking neurons learns to multiply, by the exact gradient of what its spikes will do.

SRM0 neurons encode two slow latents, and an output unit is to read their product. From one
start the layer is trained by the exact gradient of the expected loss of its spikes (none is
drawn), by that of the rate network's loss, and by the straight-through derivative of sampled
spikes: in as many steps, and in as much time, with more inputs in each step. Then all run as
spikes, under a new input.

    python examples/studies/fit_encoders.py              # some minutes
    python examples/studies/fit_encoders.py --quick      # for a first look

Writes fit_encoders.png, fit_encoders.pdf and fit_encoders.csv.
"""

import time
from typing import Any, NamedTuple

import _script
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm

import ratelike as rl

options = _script.options(
    "Trains spiking neurons to multiply two signals.",
    None,
    output="fit_encoders",
    quick=dict(neurons=30, duration=0.3, steps=10, inputs=2, trials=20, seeds=2),
    neurons=(_script.count, 100, "hidden neurons"),
    duration=(_script.seconds, 1.0, "length in s of the input of a step of training"),
    steps=(_script.count, 400, "steps of training"),
    inputs=(_script.count, 4, "inputs in each of them"),
    trials=(_script.count, 30, "trials of spikes in the test, of ten times the length"),
    seeds=(_script.count, 3, "seeds, from the first on; A to D show the first"),
)
COLORS = {
    "not trained": "0.45",
    "exact, with variance": "#0072B2",
    "exact, rate only": "#009E73",
    "straight-through, equal steps": "#E69F00",
    "straight-through, equal time": "#D55E00",
}
UNTRAINED, WITH_VARIANCE, RATE_ONLY, EQUAL_STEPS, EQUAL_TIME = COLORS
NEURON = rl.SRM0()
BURN_IN = 50  # steps
TRAINING, TEST = (
    rl.TimeGrid(1e-3, BURN_IN + round(duration / 1e-3))
    for duration in (options.duration, 10 * options.duration)
)


@eqx.filter_jit
def draw_input(neuron: rl.SRM0, key: jax.Array, grid: rl.TimeGrid):
    """Increments of two latents of unit variance, and the product of what membranes make of them."""
    drive = rl.WienerDrive(2, tau_m=0.1, key=key)
    slow = rl.membrane_traces(drive.increments(grid), drive.tau_m, grid.dt)
    increments = slow * grid.dt
    potentials = rl.membrane_traces(increments, neuron.tau_m, grid.dt)
    product = jnp.prod(potentials, axis=1, keepdims=True) * grid.dt
    return increments, rl.membrane_traces(product, neuron.tau_m, grid.dt)


def run_spikes(network, increments, grid, target, dynamics, key):
    """Squared error, and mean rate in Hz."""
    run = rl.simulate(network, increments, grid, dynamics, key=key)
    return jnp.mean((run.outputs - target)[BURN_IN:] ** 2), jnp.mean(run.rates)


def exact(loss):
    def of_new_input(network: rl.Network, key: jax.Array) -> jax.Array:
        increments, target = draw_input(network.layers[0].neuron, key, TRAINING)
        return loss(network, increments, TRAINING, target, burn_in=BURN_IN)

    return of_new_input


def straight_through(network: rl.Network, key: jax.Array) -> jax.Array:
    increments, target = draw_input(network.layers[0].neuron, key, TRAINING)
    dynamics = rl.Spiking(rl.train.StraightThrough())
    key = jax.random.fold_in(key, 1)
    return run_spikes(network, increments, TRAINING, target, dynamics, key)[0]


class Trained(NamedTuple):
    network: rl.Network
    losses: np.ndarray  # of each step, as the method sees it
    inputs: int  # in each step
    seconds: float  # for each step


def train(start: rl.Network, loss, inputs: int, key: jax.Array) -> Trained:
    # Adam in steps relative to the size of each array: decoders are smaller than encoders.
    optimiser = optax.lamb(optax.cosine_decay_schedule(0.05, options.steps))

    def where(network):
        layer = network.layers[0]
        return [layer.encoder, layer.decoder, layer.bias]

    def fit(steps):
        given: Any = dict(optimiser=optimiser, key=key, batch_size=inputs)
        return rl.fit(start, loss, where=where, num_steps=steps, **given)

    fit(1)  # compiles
    began = time.perf_counter()
    network, losses = fit(options.steps)
    seconds = (time.perf_counter() - began) / options.steps
    return Trained(network, losses, inputs, seconds)


def train_all(start: rl.Network, key: jax.Array) -> dict[str, Trained]:
    inputs = options.inputs
    results = {
        UNTRAINED: Trained(start, np.zeros(0), 0, np.nan),
        WITH_VARIANCE: train(start, exact(rl.expected_spiking_loss), inputs, key),
        RATE_ONLY: train(start, exact(rl.rate_loss), inputs, key),
        EQUAL_STEPS: train(start, straight_through, inputs, key),
    }
    ratio = results[WITH_VARIANCE].seconds / results[EQUAL_STEPS].seconds
    more = max(1, round(inputs * ratio))
    return {**results, EQUAL_TIME: train(start, straight_through, more, key)}


def make_start(encoder_key: jax.Array, input_key: jax.Array) -> rl.Network:
    """Random encoders; decoders by regression, with the variance of every neuron as its ridge."""
    size = options.neurons
    encoder = jax.random.normal(encoder_key, (size, 2))
    increments, target = draw_input(NEURON, input_key, TEST)
    # Read out one by one: the variances of the neurons themselves.
    each = rl.Layer(NEURON, encoder, size * jnp.eye(size), bias=1.0)
    ridge = rl.readout_variance(each, increments, TEST)[BURN_IN:].mean(axis=0)
    network = rl.Network([each])
    return rl.train.solve_decoders(
        network, increments, TEST, target, ridge=ridge, burn_in=BURN_IN
    )


@eqx.filter_jit
def run_trials(network, increments, target, keys):
    def trial(key):
        return run_spikes(network, increments, TEST, target, rl.Spiking(), key)

    return jax.lax.map(trial, keys, batch_size=10)


def test(network: rl.Network, increments, target, key) -> dict[str, float]:
    """Losses: predicted without spikes, measured from them, and the part of the rate network."""
    given = network, increments, TEST, target
    keys = jax.random.split(key, options.trials)
    errors, rates = run_trials(network, increments, target, keys)
    return dict(
        predicted=float(rl.expected_spiking_loss(*given, burn_in=BURN_IN)),
        measured=float(errors.mean()),
        standard_error=float(errors.std(ddof=1) / np.sqrt(options.trials)),
        rate_part=float(rl.rate_loss(*given, burn_in=BURN_IN)),
        mean_rate=float(rates.mean()),
    )


def draw_outputs(ax: Axes, network: rl.Network, increments, target, key) -> None:
    shown = slice(BURN_IN + 1000)
    grid = rl.TimeGrid(TEST.dt, len(target[shown]))
    kinds = {"spiking": rl.Spiking(), "generalised rate": rl.GeneralisedRate()}
    runs = {
        name: rl.simulate(network, increments[shown], grid, kind, key=key)
        for name, kind in kinds.items()
    }
    rl.plot.traces(runs, start=BURN_IN * grid.dt, unit="latents squared", ax=ax)
    ax.lines[0].set_linewidth(0.8)
    times = 1e3 * grid.times[1:]
    ax.plot(times[BURN_IN:], target[shown][BURN_IN:], "k--", lw=1, label="target")
    ax.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 0.98))


def draw_histories(ax: Axes, results: dict[str, Trained]) -> None:
    window = max(1, options.steps // 15)
    middles = np.arange(options.steps - window + 1) + window / 2
    for name in list(COLORS)[1:]:
        smooth = np.convolve(results[name].losses, np.ones(window) / window, "valid")
        ax.loglog(results[name].seconds * middles, smooth, color=COLORS[name])
    ax.set(xlabel="time (s)", ylabel="loss in training, running mean")


def draw_encoders(ax: Axes, network: rl.Network) -> None:
    layer = network.layers[0]
    style = dict(s=22, cmap="RdBu_r", norm=CenteredNorm(), edgecolor="0.5", lw=0.5)
    points = ax.scatter(*layer.encoder.T, c=layer.decoder[:, 0], **style)
    ax.figure.colorbar(points, ax=ax, label="decoder $D_i$ (latents squared × s)")
    ax.axis("equal")
    ax.set(xlabel=r"$E_{i1}$ (escape widths $\Delta u$ per latent)", ylabel="$E_{i2}$")


def draw_losses(ax: Axes, rows: list[dict]) -> None:
    """Means over seeds as bars, seeds as points."""
    measured, predicted, rate = (
        np.array([row[name] for row in rows]).reshape(-1, len(COLORS))
        for name in ("measured", "predicted", "rate_part")
    )
    bars, colors = np.arange(len(COLORS)), list(COLORS.values())
    ax.barh(bars, measured.mean(axis=0), color=colors, alpha=0.35)
    ax.barh(bars, rate.mean(axis=0), color=colors, label="of it, error of the rate")
    each = bars + np.linspace(-0.15, 0.15, len(measured))[:, None]
    ax.plot(measured.ravel(), each.ravel(), "ko", ms=4, label="measured, each seed")
    ax.plot(predicted.ravel(), each.ravel(), "k|", ms=9, label="predicted, no spikes")
    ax.set(xscale="log", xlabel="mean squared error (latents$^4$)")
    ax.set_yticks(bars, [name.replace(", ", ",\n") for name in COLORS])
    ax.set_ylim(len(COLORS) - 0.4, -2.0)
    ax.legend(loc="upper right", fontsize=8.5)


rows, runs = [], []
for seed in range(options.seed, options.seed + options.seeds):
    keys = jax.random.split(jax.random.key(seed), 4)
    results = train_all(make_start(keys[0], keys[1]), keys[2])
    test_key, spike_key = jax.random.split(keys[3])
    trial = *draw_input(NEURON, test_key, TEST), spike_key
    runs.append((results, trial))
    for name, trained in results.items():
        row = dict(seed=seed, training=name, steps=len(trained.losses))
        step = dict(inputs=trained.inputs, seconds_per_step=trained.seconds)
        measures = step | test(trained.network, *trial)
        rows.append(row | measures)
        shown = ", ".join(f"{key} {value:.4g}" for key, value in measures.items())
        print(f"seed {seed}, {name}: {shown}", flush=True)
_script.write_table(options, list(rows[0]), [row.values() for row in rows])

titles = {
    "A": "Trained, on a new input",
    "B": "Training (colours as in E)",
    "C": "Encoders at the start",
    "D": "Encoders trained (exact, with variance)",
    "E": "Squared error of the spikes",
}
with _script.picture(options, "AAB;CDE", titles, (11, 6.6)) as axes:
    results, trial = runs[0]
    network = results[WITH_VARIANCE].network
    draw_outputs(axes["A"], network, *trial)
    draw_histories(axes["B"], results)
    draw_encoders(axes["C"], results[UNTRAINED].network)
    draw_encoders(axes["D"], network)
    draw_losses(axes["E"], rows)
