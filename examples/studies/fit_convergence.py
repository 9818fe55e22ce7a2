"""Networks that converge sooner: connectivity fitted so that spikes stay close to the rate.

`ratelike.expected_error` predicts without a spike how far a spiking network stays from its
own generalised rate network. Here encoders and decoders are trained to make this small. A
network that hands nothing on would be perfect, and one that fires more is more exact: a
penalty holds what the rate network makes of an input (up to 2% of its variance), and the
mean rate.

Other random networks are there to compare with, also of larger gain: their longer encoders
and shorter decoders make the error small as well, at the price of more spikes. Errors are
of an input not seen in training. Takes some minutes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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
LATENTS = 2  # so that each neuron is an arrow
ALLOWED = 0.02  # change of the rate network's outputs, mean square / variance
WEIGHT = 5.0  # of the penalty
KINDS = {"spiking": rl.Spiking(), "generalised rate": rl.GeneralisedRate()}
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
        return rl.expected_error(
            network,
            self.draw(key),
            self.grid,
            burn_in=BURN_IN,
            num_probes=2,
            key=jax.random.key(0),  # the same probes in every step
        )


class HeldError(eqx.Module):
    """Expected error / s.d. of the output, and a penalty where the network does or fires other than the first one."""

    task: Task
    first: rl.Network

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        before, rate_before = self.task.rate(self.first, key)
        outputs, rate = self.task.rate(network, key)
        excess = [change(outputs, before) - ALLOWED, rate / rate_before - 1.0]
        penalty = WEIGHT * sum(map(jax.nn.relu, excess))
        return self.task.expected_error(network, key) / jnp.std(before) + penalty


def change(outputs: jax.Array, before: jax.Array) -> jax.Array:
    return jnp.mean((outputs - before) ** 2) / jnp.var(before)


class Row(NamedTuple):
    """Of a network, or means over several; errors in s.d. of the rate network's output."""

    predicted: float
    measured: float
    standard_error: float
    change: float
    mean_rate: float  # Hz


def main(arguments: Sequence[str] | None = None) -> None:
    count = _script.count
    options = _script.options(
        "Fits connectivity with which spikes stay close to the rate.",
        arguments,
        output="fit_convergence",
        quick=QUICK,
        neurons=(count, 128, "N per layer"),
        duration=(_script.seconds, 0.5, "s of input in a step, 1/4 of the test's"),
        steps=(count, 400, "steps of training"),
        trials=(count, 10, "trials of spikes of each network in the test"),
        networks=(count, 6, "other random networks to compare with"),
        gains=(_script.number(float, 0.01, 100), [2.0, 4.0], "gains of further ones"),
    )
    keys = jax.random.split(jax.random.key(options.seed), 4)
    task, test = (
        Task(rl.SRM0().tau_m, rl.TimeGrid(DT, BURN_IN + round(duration / DT)))
        for duration in (options.duration, 4 * options.duration)
    )

    def random_network(gain: float, key: jax.Array) -> rl.Network:
        size = dict(num_neurons=options.neurons, num_latents=LATENTS, depth=2)
        return rl.relay_network(rl.SRM0(), **size, key=key, gain=gain)

    first = random_network(1.0, keys[0])
    fitted, history = rl.fit(
        first,
        HeldError(task, first),
        where=lambda network: [(each.encoder, each.decoder) for each in network.layers],
        # Steps relative to the size of each array: decoders are smaller than encoders.
        optimiser=optax.lamb(optax.cosine_decay_schedule(0.03, options.steps)),
        num_steps=options.steps,
        key=keys[1],
        progress=lambda steps: tqdm(steps, desc="fit", unit="step", disable=None),
    )
    compared = {"random, fitted from": [first], "fitted": [fitted]}
    others = jax.random.split(keys[3], options.networks)
    for gain in [1.0, *options.gains]:
        name = f"{len(others)} random, gain {gain:g}"
        compared[name] = [random_network(gain, key) for key in others]
    drive_key, spike_key = jax.random.split(keys[2])
    trial_keys = jax.random.split(spike_key, options.trials)
    rows = {
        name: look(networks, first, test, drive_key, trial_keys)
        for name, networks in compared.items()
    }
    print_rows(rows)
    values = [[name, *row] for name, row in rows.items()]
    _script.write_table(options, ["network", *Row._fields], values)
    titles = {
        "A": "Random: output",
        "B": "Fitted: output",
        "C": "Training",
        "D": "Random: encoders of the first layer",
        "E": "Fitted: encoders of the first layer",
        "F": "Error on a new input",
        "G": "Random: weights, neurons by direction",
        "H": "Fitted: weights, neurons by direction",
        "I": "Who carries the signal",
    }
    layout = dict(width_ratios=[1, 1, 1.05])
    with _script.picture(options, "ABC;DEF;GHI", titles, (11, 8.6), **layout) as axes:
        for fitted_panel, random_panel in ("BA", "ED"):
            axes[fitted_panel].sharex(axes[random_panel])
            axes[fitted_panel].sharey(axes[random_panel])
        drive = test.draw(drive_key)
        for letters, network in (("ADG", first), ("BEH", fitted)):
            output, encoders, weights = (axes[letter] for letter in letters)
            runs = {
                name: rl.simulate(network, drive, test.grid, kind, key=spike_key)
                for name, kind in KINDS.items()
            }
            rl.plot.traces(runs, start=BURN_IN * DT, ax=output)
            output.set_xlim(100, 500)
            output.margins(y=0.2)
            output.lines[0].set_linewidth(1)
            output.legend(ncols=2, loc="upper right", fontsize=8.5, handlelength=1)
            draw_encoders(encoders, network.layers[0])
            rl.plot.weights(by_direction(network), 0, ax=weights)
        axes["C"].plot(history, color=FITTED)
        label = "error / s.d. of output + penalty"
        axes["C"].set(xlabel="step", ylabel=label, ylim=(0, None))
        draw_errors(axes["F"], rows)
        draw_lengths(axes["I"], first.layers[0], fitted.layers[0])


def look(networks: Sequence[rl.Network], first, test: Task, drive_key, keys) -> Row:
    before, _ = test.rate(first, drive_key)
    predicted, measured, changes, rates = [], [], [], []
    for network in networks:
        outputs, rate = test.rate(network, drive_key)
        unit = float(jnp.std(outputs))
        predicted.append(float(test.expected_error(network, drive_key)) / unit)
        errors = run_trials(network, outputs, test, drive_key, keys)
        measured.append(np.asarray(errors) / unit)
        changes.append(float(change(outputs, before)))
        rates.append(float(rate))
    # Over networks where there are several, over trials of one.
    scatter = np.mean(measured, axis=1) if len(networks) > 1 else measured[0]
    spread = np.std(scatter, ddof=1) / np.sqrt(len(scatter))
    means = [predicted, measured, spread, changes, rates]
    return Row(*(float(np.mean(each)) for each in means))


@eqx.filter_jit
def run_trials(network: rl.Network, outputs, test: Task, drive_key, keys) -> jax.Array:
    """Mean absolute difference of each from the `outputs` of the rate network."""
    increments = test.draw(drive_key)

    def trial(key):
        run = rl.simulate(network, increments, test.grid, rl.Spiking(), key=key)
        return rl.mean_absolute_error(run.outputs[BURN_IN:], outputs)

    return jax.lax.map(trial, keys, batch_size=10)


def print_rows(rows: Mapping[str, Row]) -> None:
    print("error to own rate network / s.d. of output; change: mean square / variance")
    print("network                predicted  measured (s.e.)   change  rate (Hz)")
    for name, row in rows.items():
        print(
            f"{name:22} {row.predicted:9.4f}  {row.measured:.4f} "
            f"({row.standard_error:.4f}) {row.change:8.4f} {row.mean_rate:10.1f}"
        )
    before, after, *_ = (row.measured for row in rows.values())
    print(f"fitting takes {1 - after / before:.0%} of the measured error away")


def draw_encoders(ax: Axes, layer: rl.Layer) -> None:
    """Colour: how well the decoder points where the encoder does."""
    encoder, decoder = np.asarray(layer.encoder), np.asarray(layer.decoder)
    lengths = np.linalg.norm(encoder, axis=1) * np.linalg.norm(decoder, axis=1)
    cosine = np.sum(encoder * decoder, axis=1) / lengths
    points = ax.scatter(*encoder.T, c=cosine, s=16, vmin=-1, vmax=1)
    ax.figure.colorbar(points, ax=ax, label="cosine, encoder to decoder")
    unit = r"(escape widths $\Delta u$)"
    ax.set(aspect="equal", xlabel=f"$E_{{i1}}$ {unit}", ylabel=f"$E_{{i2}}$ {unit}")


def by_direction(network: rl.Network) -> rl.Network:
    """Neurons of either layer in the order of the direction of their decoder and encoder."""

    def read(network: rl.Network) -> list[jax.Array]:
        before, after = network.layers
        return [before.decoder, after.encoder]

    ordered = [
        rows[np.argsort(np.arctan2(rows[:, 1], rows[:, 0]))] for rows in read(network)
    ]
    return eqx.tree_at(read, network, ordered)


def draw_errors(ax: Axes, rows: Mapping[str, Row]) -> None:
    places = range(len(rows))
    predicted, measured, spread, _, _ = np.transpose(list(rows.values()))
    colors = [RANDOM, FITTED, *[OTHER] * (len(rows) - 2)]
    ax.barh(places, measured, color=colors, alpha=0.6, height=0.5)
    label = "predicted without spikes"
    ax.plot(predicted, places, "D", color="black", markersize=4, label=label)
    label = "measured, ± 2 standard errors"
    bars: dict[str, Any] = dict(fmt="none", ecolor="black", capsize=2)
    ax.errorbar(measured, places, xerr=2 * spread, **bars, label=label)
    for place, (name, row) in enumerate(rows.items()):
        text = f"{name}: {row.mean_rate:.1f} Hz, change {row.change:.2f}"
        ax.text(0, place - 0.28, text, va="bottom", fontsize=8)
    ax.set(yticks=[], xlabel="error to own rate network / s.d. of output")
    ax.set_ylim(len(rows) - 0.5, -1.9)
    ax.legend(loc="upper right", fontsize=8.5)


def draw_lengths(ax: Axes, first: rl.Layer, fitted: rl.Layer) -> None:
    for name, layer, color in (("random", first, RANDOM), ("fitted", fitted, FITTED)):
        arrows = layer.encoder, layer.decoder
        lengths = [np.linalg.norm(each, axis=1) for each in arrows]
        ax.plot(*lengths, ".", color=color, label=name)
    ax.set(xlabel=r"encoder $|E_i|$ ($\Delta u$)", ylabel="decoder $|D_i|$ (s)")
    ax.set(xlim=(0, None), ylim=(0, None))
    ax.legend()


if __name__ == "__main__":
    main()
