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

import _script
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import ratelike as rl

options = _script.options(
    "Fits connectivity with which spikes stay close to the rate.",
    None,
    output="fit_convergence",
    quick=dict(neurons=64, duration=0.1, steps=5, trials=4, networks=2, gains=[2.0]),
    neurons=(_script.count, 128, "N per layer"),
    duration=(_script.seconds, 0.5, "s of input in a step, 1/4 of the test's"),
    steps=(_script.count, 400, "steps of training"),
    trials=(_script.count, 10, "trials of spikes of each network in the test"),
    networks=(_script.count, 6, "other random networks to compare with"),
    gains=(float, [2.0, 4.0], "gains of further ones"),
)
DT = 1e-3  # s
BURN_IN = 100  # steps
LATENTS = 2  # so that each neuron is an arrow
ALLOWED = 0.02  # change of the rate network's outputs, mean square / variance
WEIGHT = 5.0  # of the penalty
TRAINING = rl.TimeGrid(DT, BURN_IN + round(options.duration / DT))
TEST = rl.TimeGrid(DT, BURN_IN + round(4 * options.duration / DT))
key = jax.random.key(options.seed)
first_key, fit_key, test_key, others_key = jax.random.split(key, 4)
drive_key, spike_key = jax.random.split(test_key)
TEST_DRIVE = rl.WienerDrive(LATENTS, key=drive_key)


def random_network(gain, key):
    size = dict(num_neurons=options.neurons, num_latents=LATENTS, depth=2)
    return rl.relay_network(rl.SRM0(), **size, key=key, gain=gain)


def rate_network(network, drive, grid):
    """Outputs after the burn-in, and mean rate in Hz."""
    run = rl.simulate(network, drive, grid, rl.GeneralisedRate())
    return run.outputs[BURN_IN:], jnp.mean(run.rates[:, BURN_IN:])


def expected_error(network, drive, grid):
    probes = jax.random.key(0)  # the same in every step
    return rl.expected_error(
        network, drive, grid, burn_in=BURN_IN, num_probes=2, key=probes
    )


def change(outputs, before):
    return jnp.mean((outputs - before) ** 2) / jnp.var(before)


first = random_network(1.0, first_key)


def loss(network, key):
    """Expected error / s.d. of the output, and a penalty where the network does or fires other than the first one."""
    drive = rl.WienerDrive(LATENTS, key=key)
    before, rate_before = rate_network(first, drive, TRAINING)
    outputs, rate = rate_network(network, drive, TRAINING)
    excess = [change(outputs, before) - ALLOWED, rate / rate_before - 1.0]
    penalty = WEIGHT * sum(map(jax.nn.relu, excess))
    return expected_error(network, drive, TRAINING) / jnp.std(before) + penalty


fitted, history = rl.fit(
    first,
    loss,
    where=lambda network: [(each.encoder, each.decoder) for each in network.layers],
    # Steps relative to the size of each array: decoders are smaller than encoders.
    optimiser=optax.lamb(optax.cosine_decay_schedule(0.03, options.steps)),
    num_steps=options.steps,
    key=fit_key,
    progress=tqdm,
)
compared = {"random, fitted from": [first], "fitted": [fitted]}
others = jax.random.split(others_key, options.networks)
for gain in [1.0, *options.gains]:
    name = f"{len(others)} random, gain {gain:g}"
    compared[name] = [random_network(gain, key) for key in others]


def spiking(network, key):
    return rl.simulate(network, TEST_DRIVE, TEST, rl.Spiking(), key=key)


def measure(networks):
    """Means over networks; errors in s.d. of the rate network's output, their standard error over networks or trials."""
    before, _ = rate_network(first, TEST_DRIVE, TEST)
    errors, values = [], []
    for network in networks:
        outputs, rate = rate_network(network, TEST_DRIVE, TEST)
        unit = float(jnp.std(outputs))
        keys = jax.random.split(spike_key, options.trials)
        runs = [spiking(network, key).outputs[BURN_IN:] for key in keys]
        errors.append([rl.mean_absolute_error(run, outputs) / unit for run in runs])
        predicted = float(expected_error(network, TEST_DRIVE, TEST)) / unit
        values.append([predicted, change(outputs, before), rate])
    scatter = np.mean(errors, axis=1) if len(networks) > 1 else errors[0]
    spread = np.std(scatter, ddof=1) / np.sqrt(len(scatter))
    predicted, changed, rate = np.mean(values, axis=0)
    return [predicted, np.mean(errors), spread, changed, rate]


rows = [[name, *measure(networks)] for name, networks in compared.items()]
columns = "network", "predicted", "measured", "standard_error", "change", "mean_rate"
_script.write_table(options, columns, rows)
print("error to own rate network / s.d. of output; change: mean square / variance")
print("network                predicted  measured (s.e.)   change  rate (Hz)")
for row in rows:
    print("{:22} {:9.4f}  {:.4f} ({:.4f}) {:8.4f} {:10.1f}".format(*row))
left = rows[1][2] / rows[0][2]
print(f"fitting takes {1 - left:.0%} of the measured error away")


def by_direction(vectors):
    return vectors[jnp.argsort(jnp.arctan2(vectors[:, 1], vectors[:, 0]))]


def draw_encoders(ax, layer):
    """Colour: how well the decoder points where the encoder does."""
    cosine = optax.cosine_similarity(layer.encoder, layer.decoder)
    points = ax.scatter(*layer.encoder.T, c=cosine, s=16, vmin=-1, vmax=1)
    ax.figure.colorbar(points, ax=ax, label="cosine, encoder to decoder")
    unit = r"(escape widths $\Delta u$)"
    ax.set(aspect="equal", xlabel=f"$E_{{i1}}$ {unit}", ylabel=f"$E_{{i2}}$ {unit}")


def draw_errors(ax):
    predicted, measured, spread = np.transpose([row[1:4] for row in rows])
    places = range(len(rows))
    ax.errorbar(measured, places, xerr=2 * spread, fmt="o", label="measured, ± 2 s.e.")
    ax.plot(predicted, places, "D", label="predicted without spikes")
    texts = [
        f"{name}\n{rate:.1f} Hz, change {changed:.2f}"
        for name, *_, changed, rate in rows
    ]
    ax.set_yticks(places, texts, fontsize=8)
    ax.set(xlabel="error / s.d. of output", xlim=(0, None), ylim=(len(rows), -2))
    ax.legend(loc="upper right")


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
with _script.picture(options, "ABC;DEF;GHI", titles, (12, 8.6)) as axes:
    axes["B"].sharey(axes["A"])
    panels = {"random": (first, "ADG"), "fitted": (fitted, "BEH")}
    for name, (network, letters) in panels.items():
        output, encoders, weights = (axes[letter] for letter in letters)
        rate = rl.simulate(network, TEST_DRIVE, TEST, rl.GeneralisedRate())
        runs = {"spiking": spiking(network, spike_key), "generalised rate": rate}
        rl.plot.traces(runs, start=BURN_IN * DT, ax=output)
        output.set_xlim(100, 500)
        output.margins(y=0.3)
        output.legend(loc="upper right")
        layer = network.layers[0]
        draw_encoders(encoders, layer)
        lengths = [jnp.linalg.norm(a, axis=1) for a in (layer.encoder, layer.decoder)]
        axes["I"].plot(*lengths, ".", label=name)
        ordered = eqx.tree_at(
            lambda each: (each.layers[0].decoder, each.layers[1].encoder),
            network,
            replace_fn=by_direction,
        )
        rl.plot.weights(ordered, 0, ax=weights)
    axes["C"].plot(history)
    axes["C"].set(xlabel="step", ylabel="error / s.d. of output + penalty")
    draw_errors(axes["F"])
    axes["I"].set(xlabel=r"encoder $|E_i|$ ($\Delta u$)", ylabel="decoder $|D_i|$ (s)")
    axes["I"].legend()
