"""Networks that converge sooner: connectivity fitted so that spikes stay close to the rate.

At fixed N, a spiking network of random connectivity stays at some distance from its own
generalised rate network. `ratelike.expected_error` predicts it without a spike, and is
differentiable: here encoders and decoders are trained to make it small. A network that
hands nothing on would be perfect, and one that fires more is more exact; so two things are
held: the rate output must relay the input at least as well as before training, and the
neurons must not fire more.

Beside the fitted network stand random ones, also with larger gain (longer encoders, shorter
decoders), which is the simplest way to a smaller error:

    python examples/fit_convergence.py              # some minutes
    python examples/fit_convergence.py --quick      # for a first look

Errors are of an input not seen in training, predicted and measured from spikes. Writes
fit_convergence.png, fit_convergence.pdf and fit_convergence.csv.
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

QUICK = dict(neurons=64, duration=0.1, steps=5, trials=4, networks=2, gains=[2.0])
DT = 1e-3  # s
BURN_IN = 100  # steps
LATENTS, DEPTH = 2, 2  # of two latents each neuron is an arrow
PROBES = 2
RANDOM, FITTED, OTHER = "0.45", "#0072B2", "#E69F00"


class Task(eqx.Module):
    """White noise, and what an ideal relay makes of it: one membrane for each layer, and that of the output."""

    tau_m: jax.Array
    grid: rl.TimeGrid

    @eqx.filter_jit
    def draw(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Increments of the latents and target, (time, latents)."""
        drive = rl.WienerDrive(LATENTS, tau_m=self.tau_m, key=key)
        increments = path = drive.increments(self.grid)
        for _ in range(DEPTH):
            path = rl.membrane_traces(path, self.tau_m, self.grid.dt) * self.grid.dt
        return increments, rl.membrane_traces(path, self.tau_m, self.grid.dt)

    def relayed(self, network: rl.Network, key: jax.Array):
        """Of the rate network: mean squared error to the ideal relay, and mean rate in Hz."""
        increments, target = self.draw(key)
        run = rl.simulate(network, increments, self.grid, rl.GeneralisedRate())
        error = jnp.mean((run.outputs - target)[BURN_IN:] ** 2)
        return error / jnp.mean(target[BURN_IN:] ** 2), jnp.mean(run.rates[:, BURN_IN:])

    def expected_error(self, network: rl.Network, key: jax.Array) -> jax.Array:
        increments, target = self.draw(key)
        error = rl.expected_error(
            network, increments, self.grid, burn_in=BURN_IN, num_probes=PROBES
        )
        return error / jnp.sqrt(jnp.mean(target[BURN_IN:] ** 2))


class HeldError(eqx.Module):
    """Expected error, with a penalty where the network relays worse or fires more than the first one, on one input."""

    task: Task
    first: rl.Network
    weight: float = 2.0

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        allowed = self.task.relayed(self.first, key)
        relayed = self.task.relayed(network, key)
        excess = [
            jax.nn.relu(new / old - 1.0)
            for new, old in zip(relayed, allowed, strict=True)
        ]
        return self.task.expected_error(network, key) + self.weight * sum(excess)


@dataclass
class Row:
    """A network, or the mean over several."""

    name: str
    color: str
    predicted: float  # error without a spike / s.d. of the ideal output
    measured: float
    standard_error: float
    relay_error: float  # mean squared, of the rate, / variance of the ideal output
    mean_rate: float  # Hz


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.perf_counter()
    options = parse(arguments)
    png, pdf, table = _script.files(options)
    keys = jax.random.split(jax.random.key(options.seed), 4)
    task = Task(
        rl.SRM0().tau_m, rl.TimeGrid(DT, BURN_IN + round(options.duration / DT))
    )
    test = Task(task.tau_m, rl.TimeGrid(DT, BURN_IN + round(4 * options.duration / DT)))
    first = random_network(options.neurons, 1.0, keys[0])
    fitted, history = train(first, task, options.steps, keys[1])
    rows = [
        look("random, fitted from", RANDOM, [first], test, options.trials, keys[2]),
        look("fitted", FITTED, [fitted], test, options.trials, keys[2]),
    ]
    others = jax.random.split(keys[3], options.networks)
    for gain in [1.0, *options.gains]:
        networks = [random_network(options.neurons, gain, key) for key in others]
        name = f"{len(networks)} random, gain {gain:g}"
        rows.append(look(name, OTHER, networks, test, options.trials, keys[2]))
    print_rows(rows)
    write_table(table, rows)
    with rl.plot.style():
        figure = draw(first, fitted, history, rows, test, keys[2])
        figure.savefig(png, dpi=200)
        figure.savefig(pdf)
    print(f"wrote {png}, {pdf}, {table}")
    print(f"total wall time {time.perf_counter() - began:.1f} s")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _script.make_parser(
        "Fits connectivity with which spikes stay close to the rate."
    )
    count, seconds = _script.count, _script.seconds
    parser.add_argument("--neurons", type=count, default=128, help="N per layer")
    text = (
        "length in s of the input of a step of training, a quarter of that of the test"
    )
    parser.add_argument("--duration", type=seconds, default=0.5, help=text)
    parser.add_argument("--steps", type=count, default=100, help="steps of training")
    text = "trials of spikes of each network in the test"
    parser.add_argument("--trials", type=count, default=10, help=text)
    text = "other random networks to compare with"
    parser.add_argument("--networks", type=count, default=6, help=text)
    text = "gains of further random networks"
    gains = [2.0, 4.0]
    parser.add_argument("--gains", type=float, nargs="+", default=gains, help=text)
    options = _script.parse(parser, arguments, output="fit_convergence", quick=QUICK)
    if not all(0.0 < gain < 100.0 for gain in options.gains):
        parser.error(f"--gains must be from 0 to 100, got {options.gains}")
    return options


def random_network(size: int, gain: float, key: jax.Array) -> rl.Network:
    return rl.relay_network(
        rl.SRM0(),
        num_neurons=size,
        num_latents=LATENTS,
        depth=DEPTH,
        key=key,
        gain=gain,
    )


def train(first: rl.Network, task: Task, num_steps: int, key: jax.Array) -> rl.Fit:
    # Adam in steps relative to the size of each array: decoders are smaller than encoders.
    optimiser = optax.lamb(optax.cosine_decay_schedule(0.03, num_steps))
    return rl.fit(
        first,
        HeldError(task, first),
        where=lambda network: [
            (layer.encoder, layer.decoder) for layer in network.layers
        ],
        optimiser=optimiser,
        num_steps=num_steps,
        key=key,
        # disable=None: no bar where nobody watches.
        progress=lambda steps: tqdm(steps, desc="fit", unit="step", disable=None),
    )


def look(name: str, color: str, networks, test: Task, trials: int, key) -> Row:
    drive_key, spike_key = jax.random.split(key)
    keys = jax.random.split(spike_key, trials)
    expected, measured, relayed = [], [], []
    for network in networks:
        expected.append(float(test.expected_error(network, drive_key)))
        measured.append(np.asarray(run_trials(network, test, drive_key, keys)))
        relayed.append([float(each) for each in test.relayed(network, drive_key)])
    # Over networks where there are several, over trials of one.
    scatter = np.mean(measured, axis=1) if len(networks) > 1 else measured[0]
    relay_error, mean_rate = np.mean(relayed, axis=0)
    return Row(
        name,
        color,
        float(np.mean(expected)),
        float(np.mean(measured)),
        float(np.std(scatter, ddof=1) / np.sqrt(len(scatter))),
        float(relay_error),
        float(mean_rate),
    )


@eqx.filter_jit
def run_trials(network: rl.Network, test: Task, drive_key, keys) -> jax.Array:
    increments, target = test.draw(drive_key)
    rate = rl.simulate(network, increments, test.grid, rl.GeneralisedRate()).outputs
    unit = jnp.sqrt(jnp.mean(target[BURN_IN:] ** 2))

    def trial(key):
        run = rl.simulate(network, increments, test.grid, rl.Spiking(), key=key)
        return rl.mean_absolute_error(run.outputs, rate, burn_in=BURN_IN) / unit

    return jax.lax.map(trial, keys, batch_size=10)


def print_rows(rows: Sequence[Row]) -> None:
    print("error to the own rate network and error of the relay, in s.d. and variances")
    print("of the ideal output")
    print("network                predicted  measured (s.e.)    relay  rate (Hz)")
    for row in rows:
        print(
            f"{row.name:22} {row.predicted:9.4f}  {row.measured:.4f} "
            f"({row.standard_error:.4f}) {row.relay_error:8.4f} {row.mean_rate:10.1f}"
        )
    less = 1.0 - rows[1].measured / rows[0].measured
    print(f"fitting takes {100 * less:.0f}% of the measured error away")


def write_table(path: Path, rows: Sequence[Row]) -> None:
    names = ["predicted", "measured", "standard_error", "relay_error", "mean_rate"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["network", *names])
        for row in rows:
            writer.writerow([row.name, *(f"{getattr(row, n):.6g}" for n in names)])


# The figure


def draw(first, fitted, history, rows, test: Task, key: jax.Array) -> Figure:
    figure = Figure(figsize=(11, 8.6), layout="constrained")
    axes = figure.subplot_mosaic(
        [["A", "A", "B"], ["C", "D", "E"], ["F", "G", "H"]], width_ratios=[1, 1, 1.05]
    )
    draw_outputs(axes["A"], first, fitted, test, key)
    draw_history(axes["B"], history)
    for letters, network in (("CF", first), ("DG", fitted)):
        draw_encoders(axes[letters[0]], network.layers[0])
        draw_weights(axes[letters[1]], network)
    limits = [np.abs(axes[letter].axis()).max() for letter in "CD"]
    for letter in "CD":
        axes[letter].set(
            xlim=(-max(limits), max(limits)), ylim=(-max(limits), max(limits))
        )
    draw_errors(axes["E"], rows)
    draw_lengths(axes["H"], first, fitted)
    titles = {
        "A": "Output of the random network (above) and the fitted one (below)",
        "B": "Training",
        "C": "Random: encoders of the first layer",
        "D": "Fitted: encoders of the first layer",
        "E": "Error on a new input",
        "F": "Random: weights, neurons by direction",
        "G": "Fitted: weights, neurons by direction",
        "H": "Who carries the signal",
    }
    _script.name_panels(axes, titles)
    return figure


def draw_outputs(ax: Axes, first, fitted, test: Task, key: jax.Array) -> None:
    drive_key, spike_key = jax.random.split(key)
    increments, target = test.draw(drive_key)
    shown = slice(BURN_IN, BURN_IN + 400)
    times = 1e3 * test.grid.times[1:][shown]

    for network, height in ((first, 0.0), (fitted, -5.0)):

        def trace(dynamics, network=network):
            run = rl.simulate(network, increments, test.grid, dynamics, key=spike_key)
            return np.asarray(run.outputs)[shown, 0]

        named = height == 0.0
        lines = [
            (trace(rl.Spiking()), "spiking", dict(color="0.6", linewidth=1.0)),
            (
                trace(rl.GeneralisedRate()),
                "generalised rate",
                dict(color=FITTED, linewidth=1.4),
            ),
            (
                np.asarray(target[shown, 0]),
                "ideal relay",
                dict(color="black", linewidth=0.8, linestyle="--"),
            ),
        ]
        for values, name, style in lines:
            ax.plot(times, values + height, label=name if named else None, **style)
    ax.margins(x=0.01)
    ax.set_yticks([-5, 0], ["0", "0"])
    ax.set(xlabel="time (ms)", ylabel="membrane $y_1$ (ticks: 0)")
    ax.legend(ncols=3, loc="upper right", bbox_to_anchor=(1, 1.02))


def draw_history(ax: Axes, history: np.ndarray) -> None:
    ax.plot(history, color=FITTED)
    ax.set(xlabel="step", ylabel="error / s.d. of ideal output, + penalty")
    ax.set_ylim(bottom=0)


def draw_encoders(ax: Axes, layer: rl.Layer) -> None:
    """Colour: how well the decoder points where the encoder does."""
    encoder, decoder = np.asarray(layer.encoder), np.asarray(layer.decoder)
    lengths = np.linalg.norm(encoder, axis=1) * np.linalg.norm(decoder, axis=1)
    cosine = np.sum(encoder * decoder, axis=1) / lengths
    points = ax.scatter(
        *encoder.T,
        c=cosine,
        s=16,
        cmap="viridis",
        vmin=-1,
        vmax=1,
        edgecolor="0.5",
        linewidth=0.3,
    )
    bar = ax.figure.colorbar(points, ax=ax)
    bar.set_label("cosine, encoder to decoder")
    ax.set_aspect("equal")
    unit = r"(escape widths $\Delta u$)"
    ax.set(xlabel=f"$E_{{i1}}$ {unit}", ylabel=f"$E_{{i2}}$ {unit}")


def draw_weights(ax: Axes, network: rl.Network) -> None:
    """Neurons of either layer in the order of the direction of their decoder and encoder."""
    before, after = network.layers
    senders, receivers = (
        np.argsort(np.arctan2(rows[:, 1], rows[:, 0]))
        for rows in (np.asarray(before.decoder), np.asarray(after.encoder))
    )
    ordered = eqx.tree_at(
        lambda n: [n.layers[0].decoder, n.layers[1].encoder],
        network,
        [before.decoder[senders], after.encoder[receivers]],
    )
    rl.plot.weights(ordered, 0, ax=ax)


def draw_errors(ax: Axes, rows: Sequence[Row]) -> None:
    for index, row in enumerate(rows):
        ax.barh(index, row.measured, color=row.color, alpha=0.6, height=0.5)
        width = 2 * row.standard_error
        ax.errorbar(row.measured, index, xerr=width, color="black", capsize=2)
        ax.plot(row.predicted, index, "D", color="black", markersize=4)
        text = f"{row.name}: relay {row.relay_error:.2f}, {row.mean_rate:.0f} Hz"
        ax.text(0, index - 0.28, text, va="bottom", fontsize=7.5)
    ax.plot([], [], "D", color="black", markersize=4, label="predicted without spikes")
    ax.errorbar([], [], xerr=[], color="black", label="measured, ± 2 standard errors")
    ax.set(yticks=[], xlabel="error to own rate / s.d. of ideal output")
    ax.set_ylim(len(rows) - 0.5, -1.9)
    ax.legend(loc="upper right", fontsize=7.5)


def draw_lengths(ax: Axes, first: rl.Network, fitted: rl.Network) -> None:
    for network, color, name in ((first, RANDOM, "random"), (fitted, FITTED, "fitted")):
        layer = network.layers[0]
        lengths = [
            np.linalg.norm(rows, axis=1) for rows in (layer.encoder, layer.decoder)
        ]
        ax.plot(*lengths, ".", color=color, label=name)
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    ax.set(xlabel=r"encoder $|E_i|$ ($\Delta u$)", ylabel="decoder $|D_i|$ (s)")
    ax.legend()


if __name__ == "__main__":
    main()
