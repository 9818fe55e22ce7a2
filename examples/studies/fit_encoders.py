"""A hidden layer of spiking neurons learns to multiply, by the exact gradient of what its spikes will do.

SRM0 neurons encode two slow latents, and an output unit is to read their product. From one
start the layer is trained by the exact gradient of the expected loss of its spikes, by that
of the rate network's loss, and by the straight-through derivative of sampled spikes: in as
many steps, and in as much time, with more inputs in each step. Then all spike on a new input.

    python examples/studies/fit_encoders.py              # some minutes
    python examples/studies/fit_encoders.py --quick      # for a first look

Writes fit_encoders.png, fit_encoders.pdf and fit_encoders.csv.
"""

import time
from functools import partial
from typing import NamedTuple

import _script
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
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
STEPS = round(options.duration / 1e-3)
TRAINING = rl.TimeGrid(1e-3, BURN_IN + STEPS)
TEST = rl.TimeGrid(1e-3, BURN_IN + 10 * STEPS)
# Adam in steps relative to the size of each array: decoders are smaller than encoders.
OPTIMISER = optax.lamb(optax.cosine_decay_schedule(0.05, options.steps))


@eqx.filter_jit
def draw_input(neuron: rl.SRM0, key: jax.Array, grid: rl.TimeGrid):
    """Increments of two latents of unit variance, and the product of what membranes make of them."""
    drive = rl.WienerDrive(2, tau_m=0.1, key=key)
    slow = rl.membrane_traces(drive.increments(grid), drive.tau_m, grid.dt)
    increments = slow * grid.dt
    potentials = rl.membrane_traces(increments, neuron.tau_m, grid.dt)
    product = jnp.prod(potentials, axis=1, keepdims=True) * grid.dt
    return increments, rl.membrane_traces(product, neuron.tau_m, grid.dt)


def make_start(encoder_key: jax.Array, input_key: jax.Array) -> rl.Network:
    """Random encoders; decoders by regression, with the variance of every neuron as its ridge."""
    size = options.neurons
    encoder = jax.random.normal(encoder_key, (size, 2))
    increments, target = draw_input(NEURON, input_key, TEST)
    # Read out one by one: the variances of the neurons themselves.
    each = rl.Layer(NEURON, encoder, size * jnp.eye(size), bias=1.0)
    ridge = rl.readout_variance(each, increments, TEST)[BURN_IN:].mean(axis=0)
    given = rl.Network([each]), increments, TEST, target
    return rl.train.solve_decoders(*given, ridge=ridge, burn_in=BURN_IN)


def run_spikes(network, increments, grid, target, dynamics, key):
    """Squared error, and mean rate in Hz."""
    run = rl.simulate(network, increments, grid, dynamics, key=key)
    return jnp.mean((run.outputs - target)[BURN_IN:] ** 2), jnp.mean(run.rates)


def exact(loss, network: rl.Network, key: jax.Array) -> jax.Array:
    increments, target = draw_input(network.layers[0].neuron, key, TRAINING)
    return loss(network, increments, TRAINING, target, burn_in=BURN_IN)


def straight_through(network: rl.Network, key: jax.Array) -> jax.Array:
    increments, target = draw_input(network.layers[0].neuron, key, TRAINING)
    dynamics = rl.Spiking(rl.train.StraightThrough())
    key = jax.random.fold_in(key, 1)
    return run_spikes(network, increments, TRAINING, target, dynamics, key)[0]


class Trained(NamedTuple):
    network: rl.Network
    losses: np.ndarray  # before each step
    inputs: int  # of a step
    seconds: float  # for a step


def connections(network: rl.Network) -> list[jax.Array]:
    layer = network.layers[0]
    return [layer.encoder, layer.decoder, layer.bias]


def train(
    start: rl.Network, loss, key: jax.Array, inputs: int = options.inputs
) -> Trained:
    how = dict(where=connections, optimiser=OPTIMISER, key=key, batch_size=inputs)
    fit = partial(rl.fit, start, loss, **how)
    fit(num_steps=1)  # compiles
    began = time.perf_counter()
    network, losses = fit(num_steps=options.steps)
    seconds = (time.perf_counter() - began) / options.steps
    return Trained(network, losses, inputs, seconds)


def test(network: rl.Network, increments, target, key) -> dict[str, float]:
    """Losses: predicted without spikes, measured from them, and the part of the rate network."""
    given = network, increments, TEST, target
    keys = jax.random.split(key, options.trials)
    trial = eqx.Partial(run_spikes, *given, rl.Spiking())
    errors, rates = eqx.filter_jit(jax.lax.map)(trial, keys, batch_size=10)
    return dict(
        predicted=float(rl.expected_spiking_loss(*given, burn_in=BURN_IN)),
        measured=float(errors.mean()),
        standard_error=float(errors.std(ddof=1) / np.sqrt(options.trials)),
        rate_part=float(rl.rate_loss(*given, burn_in=BURN_IN)),
        mean_rate=float(rates.mean()),
    )


rows, shown = [], []
for seed in range(options.seed, options.seed + options.seeds):
    keys = jax.random.split(jax.random.key(seed), 4)
    test_key, spike_key = jax.random.split(keys[3])
    trial = *draw_input(NEURON, test_key, TEST), spike_key
    start, key = make_start(keys[0], keys[1]), keys[2]
    results = {
        UNTRAINED: Trained(start, np.zeros(0), 0, np.nan),
        WITH_VARIANCE: train(start, partial(exact, rl.expected_spiking_loss), key),
        RATE_ONLY: train(start, partial(exact, rl.rate_loss), key),
        EQUAL_STEPS: train(start, straight_through, key),
    }
    ratio = results[WITH_VARIANCE].seconds / results[EQUAL_STEPS].seconds
    more = max(1, round(options.inputs * ratio))
    results[EQUAL_TIME] = train(start, straight_through, key, more)
    shown.append((results, trial))
    for name, (network, losses, inputs, seconds) in results.items():
        row = dict(seed=seed, training=name, steps=len(losses))
        measures = dict(inputs=inputs, seconds_per_step=seconds) | test(network, *trial)
        rows.append(row | measures)
        values = ", ".join(f"{key} {value:.4g}" for key, value in measures.items())
        print(f"seed {seed}, {name}: {values}", flush=True)
_script.write_table(options, list(rows[0]), [row.values() for row in rows])

titles = {
    "A": "Trained, on a new input",
    "B": "Training (colours as in E)",
    "C": "Encoders at the start",
    "D": "Encoders trained (exact, with variance)",
    "E": "Squared error of the spikes",
}
results, (increments, target, key) = shown[0]
trained = results[WITH_VARIANCE].network
num_steps = TRAINING.num_steps
given = trained, increments[:num_steps], TRAINING
runs = {
    "spiking": rl.simulate(*given, rl.Spiking(), key=key),
    "generalised rate": rl.simulate(*given, rl.GeneralisedRate()),
}
with _script.picture(options, "AAB;CDE", titles, (11, 6.6)) as axes:
    ax = rl.plot.traces(runs, unit="latents squared", ax=axes["A"])
    ax.lines[0].set_linewidth(0.8)
    ax.plot(1e3 * TRAINING.times[1:], target[:num_steps], "k--", label="target")
    ax.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 0.98))

    window = max(1, options.steps // 15)
    middles = np.arange(options.steps - window + 1) + window / 2
    for name in list(COLORS)[1:]:
        losses, seconds = results[name].losses, results[name].seconds
        smooth = np.convolve(losses, np.ones(window) / window, "valid")
        axes["B"].loglog(seconds * middles, smooth, color=COLORS[name])
    axes["B"].set(xlabel="time (s)", ylabel="loss in training, running mean")

    for letter, network in (("C", results[UNTRAINED].network), ("D", trained)):
        ax, layer = axes[letter], network.layers[0]
        style = dict(cmap="RdBu_r", norm=CenteredNorm(), edgecolor="0.5", lw=0.5)
        points = ax.scatter(*layer.encoder.T, s=22, c=layer.decoder[:, 0], **style)
        ax.figure.colorbar(points, ax=ax, label="decoder $D_i$ (latents squared × s)")
        ax.axis("equal")
        ax.set(xlabel="$E_{i1}$ (escape widths per latent)", ylabel="$E_{i2}$")

    measured, predicted, rate = (
        np.array([row[name] for row in rows]).reshape(-1, len(COLORS))
        for name in ("measured", "predicted", "rate_part")
    )
    ax, bars, colors = axes["E"], np.arange(len(COLORS)), list(COLORS.values())
    ax.barh(bars, measured.mean(axis=0), color=colors, alpha=0.35)
    ax.barh(bars, rate.mean(axis=0), color=colors, label="of it, error of the rate")
    each = bars + np.linspace(-0.15, 0.15, len(measured))[:, None]
    ax.plot(measured.ravel(), each.ravel(), "ko", ms=4, label="measured, each seed")
    ax.plot(predicted.ravel(), each.ravel(), "k|", ms=9, label="predicted, no spikes")
    ax.set(xscale="log", xlabel="mean squared error (latents$^4$)")
    ax.set_yticks(bars, [name.replace(", ", ",\n") for name in COLORS])
    ax.set_ylim(len(COLORS) - 0.4, -2.0)
    ax.legend(loc="upper right")
