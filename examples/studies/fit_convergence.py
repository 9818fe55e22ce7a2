"""Networks that converge sooner: connectivity fitted so that spikes stay close to the rate.

At fixed N, a spiking network of random connectivity stays at some distance from its own
generalised rate network. `ratelike.expected_error` predicts it without a spike, and is
differentiable: here encoders and decoders are trained to make it small. A network that
hands nothing on would be perfect, and one that fires more is more exact. So two things are
held by a penalty: what the rate network makes of an input (up to 2% of its variance), and
the mean rate.

Beside the fitted network stand other random ones, also with larger gain: their longer
encoders and shorter decoders make the error small as well, at the price of more spikes.

    python examples/studies/fit_convergence.py              # some minutes
    python examples/studies/fit_convergence.py --quick      # for a first look

Errors are of an input not seen in training, predicted and measured from spikes. Writes
fit_convergence.png, fit_convergence.pdf and fit_convergence.csv.
"""

from collections.abc import Sequence
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

QUICK = dict(neurons=64, duration=0.1, steps=5, trials=4, networks=2, gains=[2.0])
DT = 1e-3  # s
BURN_IN = 100  # steps
LATENTS, DEPTH = 2, 2  # of two latents each neuron is an arrow
PROBES = 2
ALLOWED = 0.02  # change of the rate network's outputs, mean square / variance
WEIGHT = 5.0  # of the penalty
RANDOM, FITTED, OTHER = "0.45", "#0072B2", "#E69F00"


class Task(eqx.Module):
    """White noise of one length."""

    tau_m: jax.Array
    grid: rl.TimeGrid

    @eqx.filter_jit
    def draw(self, key: jax.Array) -> jax.Array:
        drive = rl.WienerDrive(LATENTS, tau_m=self.tau_m, key=key)
        return drive.increments(self.grid)

    def rate(self, network: rl.Network, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Outputs after the burn-in, and mean rate in Hz, of the generalised rate network."""
        run = rl.simulate(network, self.draw(key), self.grid, rl.GeneralisedRate())
        return run.outputs[BURN_IN:], jnp.mean(run.rates[:, BURN_IN:])

    def expected_error(self, network: rl.Network, key: jax.Array) -> jax.Array:
        increments = self.draw(key)
        return rl.expected_error(
            network,
            increments,
            self.grid,
            burn_in=BURN_IN,
            num_probes=PROBES,
            key=jax.random.key(0),  # the same probes in every step
        )


class HeldError(eqx.Module):
    """Expected error / s.d. of the output, and a penalty where the network does or fires other than the first one."""

    task: Task
    first: rl.Network

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        before, rate_before = self.task.rate(self.first, key)
        outputs, rate = self.task.rate(network, key)
        change = jnp.mean((outputs - before) ** 2) / jnp.var(before)
        excess = [change - ALLOWED, rate / rate_before - 1.0]
        penalty = WEIGHT * sum(map(jax.nn.relu, excess))
        return self.task.expected_error(network, key) / jnp.std(before) + penalty


@dataclass
class Row:
    """A network, or the mean over several."""

    name: str
    color: str
    predicted: float  # error without a spike / s.d. of the rate network's output
    measured: float
    standard_error: float
    change: float  # of the rate network's output, from the first one's, / its variance
    mean_rate: float  # Hz


MEASURES = ["predicted", "measured", "standard_error", "change", "mean_rate"]


def main(arguments: Sequence[str] | None = None) -> None:
    count = _script.count
    options = _script.options(
        "Fits connectivity with which spikes stay close to the rate.",
        arguments,
        output="fit_convergence",
        quick=QUICK,
        neurons=(count, 128, "N per layer"),
        duration=(
            _script.seconds,
            0.5,
            "length in s of the input of a step of training, a quarter of that of the test",
        ),
        steps=(count, 400, "steps of training"),
        trials=(count, 10, "trials of spikes of each network in the test"),
        networks=(count, 6, "other random networks to compare with"),
        gains=(_script.number(float, 0.01, 100), [2.0, 4.0], "gains of further ones"),
    )
    keys = jax.random.split(jax.random.key(options.seed), 4)
    tau_m = rl.SRM0().tau_m
    task, test = (
        Task(tau_m, rl.TimeGrid(DT, BURN_IN + round(times * options.duration / DT)))
        for times in (1, 4)
    )
    first = random_network(options.neurons, 1.0, keys[0])
    fitted, history = train(first, task, options.steps, keys[1])

    def look_at(name: str, color: str, networks: list[rl.Network]) -> Row:
        return look(name, color, networks, first, test, options.trials, keys[2])

    rows = [look_at("random, fitted from", RANDOM, [first])]
    rows.append(look_at("fitted", FITTED, [fitted]))
    others = jax.random.split(keys[3], options.networks)
    for gain in [1.0, *options.gains]:
        networks = [random_network(options.neurons, gain, key) for key in others]
        name = f"{len(networks)} random, gain {gain:g}"
        rows.append(look_at(name, OTHER, networks))
    print_rows(rows)
    values = [[row.name, *(getattr(row, name) for name in MEASURES)] for row in rows]
    _script.write_table(options, ["network", *MEASURES], values)
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
    layout = dict(width_ratios=[1, 1, 1.05])
    with _script.picture(options, "AAB;CDE;FGH", titles, (11, 8.6), **layout) as axes:
        draw_outputs(axes["A"], first, fitted, test, keys[2])
        axes["B"].plot(history, color=FITTED)
        text = "error / s.d. of output + penalty"
        axes["B"].set(xlabel="step", ylabel=text, ylim=(0, None))
        limit = 1.1 * max(np.abs(n.layers[0].encoder).max() for n in (first, fitted))
        for letters, network in (("CF", first), ("DG", fitted)):
            draw_encoders(axes[letters[0]], network.layers[0], limit)
            draw_weights(axes[letters[1]], network)
        draw_errors(axes["E"], rows)
        draw_lengths(axes["H"], first, fitted)


def random_network(size: int, gain: float, key: jax.Array) -> rl.Network:
    return rl.relay_network(
        rl.SRM0(),
        num_neurons=size,
        num_latents=LATENTS,
        depth=DEPTH,
        key=key,
        gain=gain,
    )


def train(
    first: rl.Network, task: Task, num_steps: int, key: jax.Array
) -> rl.train.Fit:
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


def look(name: str, color: str, networks, first, test: Task, trials: int, key) -> Row:
    drive_key, spike_key = jax.random.split(key)
    keys = jax.random.split(spike_key, trials)
    before, _ = test.rate(first, drive_key)
    predicted, measured, changes, rates = [], [], [], []
    for network in networks:
        outputs, rate = test.rate(network, drive_key)
        unit = float(jnp.std(outputs))
        predicted.append(float(test.expected_error(network, drive_key)) / unit)
        errors = run_trials(network, outputs, test, drive_key, keys)
        measured.append(np.asarray(errors) / unit)
        changes.append(float(jnp.mean((outputs - before) ** 2) / jnp.var(before)))
        rates.append(float(rate))
    # Over networks where there are several, over trials of one.
    scatter = np.mean(measured, axis=1) if len(networks) > 1 else measured[0]
    spread = np.std(scatter, ddof=1) / np.sqrt(len(scatter))
    means = [predicted, measured, spread, changes, rates]
    return Row(name, color, *(float(np.mean(each)) for each in means))


@eqx.filter_jit
def run_trials(network: rl.Network, outputs, test: Task, drive_key, keys) -> jax.Array:
    """Mean absolute difference of each from the `outputs` of the rate network."""
    increments = test.draw(drive_key)

    def trial(key):
        run = rl.simulate(network, increments, test.grid, rl.Spiking(), key=key)
        return rl.mean_absolute_error(run.outputs[BURN_IN:], outputs)

    return jax.lax.map(trial, keys, batch_size=10)


def print_rows(rows: Sequence[Row]) -> None:
    print(
        "error to the own rate network / s.d. of its output; change of its output from"
    )
    print("the first network's, mean square / variance")
    print("network                predicted  measured (s.e.)   change  rate (Hz)")
    for row in rows:
        print(
            f"{row.name:22} {row.predicted:9.4f}  {row.measured:.4f} "
            f"({row.standard_error:.4f}) {row.change:8.4f} {row.mean_rate:10.1f}"
        )
    less = 1.0 - rows[1].measured / rows[0].measured
    print(f"fitting takes {round(100 * less)}% of the measured error away")


# The figure


def draw_outputs(ax: Axes, first, fitted, test: Task, key: jax.Array) -> None:
    drive_key, spike_key = jax.random.split(key)
    increments = test.draw(drive_key)
    shown = slice(BURN_IN, BURN_IN + 400)
    kinds = {"spiking": rl.Spiking(), "generalised rate": rl.GeneralisedRate()}
    for network, height in ((first, 0.0), (fitted, -5.0)):
        for (name, kind), color in zip(kinds.items(), ("0.6", FITTED), strict=True):
            run = rl.simulate(network, increments, test.grid, kind, key=spike_key)
            label = name if height == 0.0 else None
            values = run.outputs[shown, 0] + height
            ax.plot(1e3 * run.times[shown], values, color=color, lw=1, label=label)
    ax.margins(x=0.01)
    ax.set_yticks([-5, 0], ["0", "0"])
    ax.set(xlabel="time (ms)", ylabel="membrane $y_1$ (ticks: 0)")
    ax.set_ylim(top=ax.get_ylim()[1] + 1.5)  # room for the legend
    ax.legend(ncols=2, loc="upper right")


def draw_encoders(ax: Axes, layer: rl.Layer, limit: float) -> None:
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
    ax.set(aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit))
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
        text = f"{row.name}: {row.mean_rate:.1f} Hz, change {row.change:.2f}"
        ax.text(0, index - 0.28, text, va="bottom", fontsize=8.5)
    ax.plot([], [], "D", color="black", markersize=4, label="predicted without spikes")
    ax.errorbar([], [], xerr=[], color="black", label="measured, ± 2 standard errors")
    ax.set(yticks=[], xlabel="error to own rate network / s.d. of output")
    ax.set_ylim(len(rows) - 0.5, -1.9)
    ax.legend(loc="upper right", fontsize=8.5)


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
