"""Synapses of layers and of feedback, against filters in NumPy and dense weights, one connection after the other."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._network._packed import pack
from ratelike._study._tiles import _outputs

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

DT, NUM_STEPS, TAU_M = 1e-3, 60, 10e-3
GRID = rl.TimeGrid(DT, NUM_STEPS)
KEY = jax.random.key(0)
DYNAMICS = {
    "spiking": rl.Spiking(),
    "generalised": rl.GeneralisedRate(),
    "conventional": rl.ConventionalRate(rl.DirectRate()),
}
# Without memory, where it makes no difference: that compiles in a third of the time.
NEURON = rl.SRM0(TAU_M, rl.ExponentialEscape(60.0), rl.NoRefractory())
WITH_MEMORY = rl.SRM0(
    TAU_M, rl.ExponentialEscape(60.0), rl.ExponentialRefractory(3.0, 6e-3, 2e-3, 12e-3)
)
TAUS, STEPS = np.array([4e-3, 12e-3]), np.array([0, 3])
SYNAPSE = [rl.Delay(STEPS * DT), rl.ExponentialSynapse(TAUS)]


def numpy_exponential(increments, tau):
    """The integral over each step of y' = (x - y) / tau, from the change of y: dY = dX - tau (y after - y before)."""
    y, out = 0.0, []
    for increment in increments:
        x = increment / DT
        after = x + (y - x) * np.exp(-DT / tau)
        out.append(increment - tau * (after - y))
        y = after
    return np.array(out)


def numpy_synapse(increments):
    columns = []
    for column, tau, steps in zip(increments.T, TAUS, STEPS, strict=True):
        late = np.concatenate([np.zeros(steps), column])[: len(column)]
        columns.append(numpy_exponential(late, tau))
    return np.stack(columns, axis=1)


def arrays(num_neurons):
    generator = np.random.default_rng(0)

    def normal(size):
        return size * generator.normal(size=(num_neurons, 2))

    return dict(encoder=normal(1.0), decoder=normal(0.05), bias=0.5 * normal(1.0)[:, 0])


INCREMENTS = 0.03 * np.random.default_rng(1).normal(size=(NUM_STEPS, 2))


def layer(num_neurons, neuron=NEURON, **arguments):
    values = arrays(num_neurons)
    return rl.Layer(
        neuron, values["encoder"], values["decoder"], values["bias"], **arguments
    )


def simulate(layer, increments, dynamics, **arguments):
    return rl.simulate(
        rl.Network([layer]), increments, GRID, dynamics, key=KEY, **arguments
    )


# What comes in


@pytest.mark.parametrize("name", [*DYNAMICS, "lines"])
def test_a_layer_hears_what_its_synapse_lets_through(name):
    """With threads at top level; of spikes also within jit, with two inputs under vmap."""
    dynamics = (DYNAMICS | {"lines": rl.GeneralisedRate(diffrax.Heun(), age_step=DT)})[
        name
    ]
    plain, with_it = layer(70), layer(70, synapse=SYNAPSE)
    expected = simulate(plain, numpy_synapse(INCREMENTS), dynamics).outputs
    alone = simulate(with_it, INCREMENTS, dynamics).outputs
    np.testing.assert_allclose(alone, expected, rtol=1e-9, atol=1e-14)
    if name == "spiking":

        @jax.jit
        @jax.vmap
        def together(increments):
            return simulate(with_it, increments, dynamics).outputs

        both = together(jnp.stack([INCREMENTS[::-1], INCREMENTS]))
        np.testing.assert_allclose(both[1], expected, rtol=1e-9, atol=1e-14)


def test_streamed_layers_and_smaller_ones_keep_their_synapse():
    """The second layer, whose time constants differ, is the stored one; a relay network has one synapse in each layer."""
    arguments = dict(num_neurons=150, num_latents=2, depth=2, key=KEY)
    synapse = [rl.Delay([1e-3, 0.0]), rl.AlphaSynapse(2e-3)]
    streamed, stored = (
        make(NEURON, **arguments, synapse=synapse)
        for make in (rl.streamed_relay_network, rl.relay_network)
    )
    runs = [
        rl.simulate(network, INCREMENTS, GRID, rl.Spiking(), key=KEY).outputs
        for network in (streamed, stored)
    ]
    np.testing.assert_array_equal(*runs)
    jax.tree.map(np.testing.assert_array_equal, streamed.stored().layers, stored.layers)
    assert streamed.layers[1].first(70).synapse is streamed.layers[1].synapse
    plain, infinite = (
        rl.infinite_relay_network(
            NEURON, num_latents=2, depth=2, nodes=rl.GaussHermite(2), synapse=each
        )
        for each in (None, synapse)
    )
    without = rl.relay_network(NEURON, **arguments)
    for index in range(2):
        growth = infinite.layers[index].encoder / plain.layers[index].encoder
        theirs = stored.layers[index].encoder / without.layers[index].encoder
        np.testing.assert_allclose(growth, theirs[:4], rtol=1e-9)
        assert abs(float(growth[0, 0]) - 1.0) > 0.05


@pytest.mark.slow
def test_tiles_of_networks_with_synapses_are_the_networks_one_by_one():
    """Time constants that differ between networks, before layers and within feedback: two networks of two tiles each."""
    grid, dynamics = rl.TimeGrid(DT, 12), rl.ConventionalRate(rl.DirectRate())

    def made(taus):
        values = {name: jnp.asarray(each) for name, each in arrays(70).items()}
        feedback = [
            rl.Feedback(
                values["encoder"],
                10.0 * values["decoder"],
                synapse=rl.ExponentialSynapse(taus[:2]),
            ),
            rl.Feedback(
                values["encoder"],
                10.0 * values["decoder"],
                2 * DT,
                synapse=[rl.AlphaSynapse(taus[2]), rl.Delay(DT)],
            ),
        ]
        first = rl.Layer(NEURON, *values.values(), synapse=rl.AlphaSynapse(taus[2]))
        second = rl.Layer(
            NEURON, *values.values(), feedback, synapse=rl.ExponentialSynapse(taus[:2])
        )
        return rl.Network([first, second])

    networks = [made(jnp.asarray(t)) for t in ([2e-3, 9e-3, 1e-3], [5e-3, 4e-3, 7e-3])]
    drives = jnp.stack([jnp.asarray(INCREMENTS[:12]), jnp.asarray(INCREMENTS[12:24])])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks)
    tiles = pack(stacked, list(drives), jax.random.split(KEY), 70, 5)
    outputs = jax.jit(lambda tiles: _outputs(tiles, grid, dynamics, None)[0])(tiles)
    for index, (network, drive) in enumerate(zip(networks, drives, strict=True)):
        alone = rl.simulate(network, drive, grid, dynamics).outputs
        for tile in (2 * index, 2 * index + 1):
            np.testing.assert_allclose(outputs[tile], alone, rtol=1e-9, atol=1e-13)


# Without spikes


@pytest.mark.slow
def test_expected_error_of_layers_with_synapses():
    """Of one layer that of filtered input, bit for bit nearly; of two against 256 spiking runs.

    The mean over runs has a standard error of 2 to 4%; linear noise and probes add 2%. Without the synapse of
    20 ms, which takes most of what 30 neurons pass on, it would be 35% more.
    """
    one, plain = layer(70, synapse=SYNAPSE), layer(70)
    filtered = numpy_synapse(INCREMENTS)
    np.testing.assert_allclose(
        rl.readout_variance(one, INCREMENTS, GRID),
        rl.readout_variance(plain, filtered, GRID),
        rtol=1e-9,
    )
    values = arrays(1000)
    second = rl.Layer(
        NEURON,
        2.0 * values["encoder"],
        values["decoder"],
        values["bias"],
        synapse=rl.ExponentialSynapse(20e-3),
    )
    network = rl.Network([layer(30), second])
    predicted = rl.expected_error(
        network, INCREMENTS, GRID, burn_in=30, num_probes=32, key=KEY
    )
    exact = rl.simulate(network, INCREMENTS, GRID, rl.GeneralisedRate()).outputs

    @jax.jit
    @jax.vmap
    def error(key):
        run = rl.simulate(network, INCREMENTS, GRID, rl.Spiking(), key=key)
        return rl.mean_absolute_error(run.outputs, exact, burn_in=30)

    errors = np.asarray(error(jax.random.split(KEY, 256)))
    standard_error = errors.std() / np.sqrt(errors.size)
    assert standard_error < 0.04 * errors.mean()
    assert float(predicted) == pytest.approx(
        errors.mean(), abs=3.3 * standard_error + 0.02 * errors.mean()
    )


# Feedback


def numpy_potentials(layer, activity, feedback_filters, delays):
    """From the activity (time, neurons): every connection by itself, with a filter for each latent."""
    size = layer.num_neurons
    currents = INCREMENTS @ np.asarray(layer.encoder).T
    for feedback, filters, delay in zip(
        layer.feedback, feedback_filters, delays, strict=True
    ):
        encoder, decoder = np.asarray(feedback.encoder), np.asarray(feedback.decoder)
        for latent, own_filter in enumerate(filters):
            for sender in range(size):
                sent = own_filter(activity[:, sender])
                late = np.concatenate([np.zeros(delay), sent])[: len(sent)]
                for receiver in set(range(size)) - {sender}:
                    weight = encoder[receiver, latent] * decoder[sender, latent] / size
                    currents[:, receiver] += weight * late
    decay = np.exp(-DT / TAU_M)
    bias = np.asarray(layer.bias)
    ends = [bias]
    for current in currents:
        ends.append(bias + decay * (ends[-1] - bias) + (1.0 - decay) / DT * current)
    # At which exp is its mean over both ends of the step.
    return np.log(0.5 * (np.exp(ends[:-1]) + np.exp(ends[1:])))


def both_feedbacks(size):
    generator = np.random.default_rng(2)

    def normal(scale):
        return scale * generator.normal(size=(size, 2))

    return [
        rl.Feedback(normal(1.0), normal(0.5), 2 * DT, synapse=SYNAPSE),
        rl.Feedback(
            normal(1.0),
            normal(0.5),
            synapse=(rl.ExponentialSynapse(7e-3), rl.Delay(2 * DT)),
        ),
    ]


@pytest.mark.parametrize("name", DYNAMICS)
def test_feedback_with_synapses_is_that_of_every_connection_by_itself(name):
    size = 4
    network = layer(size, WITH_MEMORY, feedback=both_feedbacks(size))
    run = simulate(network, INCREMENTS, DYNAMICS[name], record={0: range(size)})
    potential, activity = run.recordings[0].potential, run.recordings[0].activity
    activity = np.asarray(activity)

    def late_exponential(tau, steps):
        def apply(sent):
            late = np.concatenate([np.zeros(steps), sent])[: len(sent)]
            return numpy_exponential(late, tau)

        return apply

    filters = [
        [late_exponential(*each) for each in zip(TAUS, STEPS, strict=True)],
        [late_exponential(7e-3, 2)] * 2,
    ]
    expected = numpy_potentials(network, activity, filters, (2, 1))
    np.testing.assert_allclose(potential, expected, rtol=1e-9, atol=1e-12)
    assert activity.sum() > 2.0
    # What each part of it is good for: a neuron that hears itself, one delay, one filter.
    wrong = numpy_potentials(network, activity, filters[::-1], (2, 1))
    assert np.abs(wrong - expected).max() > 1e-3


def test_several_feedbacks_are_one_of_all_their_latents():
    size = 70
    first, second = both_feedbacks(size)
    apart = [
        rl.Feedback(each.encoder, each.decoder, 2 * DT) for each in (first, second)
    ]
    stacked = rl.Feedback(
        np.concatenate([first.encoder, second.encoder], axis=1),
        np.concatenate([first.decoder, second.decoder], axis=1),
        2 * DT,
    )
    runs = [
        simulate(layer(size, feedback=each), INCREMENTS, DYNAMICS["conventional"])
        for each in (apart, stacked)
    ]
    np.testing.assert_allclose(*[run.outputs for run in runs], rtol=1e-9, atol=1e-12)


def test_derivatives_by_time_constants():
    """Before a layer and within feedback; central differences of relative step 10^-4."""
    first, second = both_feedbacks(5)

    def loss(taus):
        feedback = [
            rl.Feedback(
                first.encoder,
                first.decoder,
                2 * DT,
                synapse=rl.ExponentialSynapse(taus[:2]),
            ),
            rl.Feedback(
                second.encoder, second.decoder, synapse=rl.AlphaSynapse(taus[2])
            ),
        ]
        made = layer(5, feedback=feedback, synapse=rl.ExponentialSynapse(taus[3]))
        run = simulate(made, INCREMENTS, DYNAMICS["conventional"])
        return 1e3 * jnp.sum(run.outputs**2)

    taus = jnp.asarray([3e-3, 8e-3, 5e-3, 4e-3])
    evaluate = jax.jit(jax.value_and_grad(loss))
    slopes = evaluate(taus)[1]
    for index, slope in enumerate(slopes):
        step = 1e-4 * taus[index]
        ends = [evaluate(taus.at[index].add(sign * step))[0] for sign in (1.0, -1.0)]
        central = float(ends[0] - ends[1]) / (2.0 * float(step))
        assert abs(central) > 1e-4
        assert float(slope) == pytest.approx(central, rel=1e-5)


def test_what_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr("ratelike._simulate._simulate", None)
    feedback = both_feedbacks(4)
    for call, message in (
        (
            lambda: layer(4, synapse=rl.ExponentialSynapse([1e-3] * 3)),
            "Layer.synapse must be for 2 latents",
        ),
        (lambda: layer(4, synapse=[]), "Layer.synapse must hold at least one"),
        (lambda: layer(4, feedback=[]), "Layer.feedback must hold at least one"),
        (
            lambda: layer(5, feedback=feedback),
            r"Layer.feedback\[0\] must have the 5 neurons",
        ),
        (
            lambda: rl.Feedback(np.eye(2), np.eye(2), synapse=rl.AlphaSynapse([1.0])),
            "Feedback.synapse must be for 2 latents",
        ),
        (
            lambda: simulate(
                layer(4, synapse=[rl.Delay(1.5e-3)]), INCREMENTS, rl.Spiking()
            ),
            r"layers\[0\].synapse\[0\].duration must be a multiple of .* got 0.0015",
        ),
        (
            lambda: simulate(
                layer(
                    2,
                    feedback=rl.Feedback(np.eye(2), np.eye(2), synapse=rl.Delay(1e-4)),
                ),
                INCREMENTS,
                rl.Spiking(),
            ),
            r"layers\[0\].feedback.synapse.duration must be a multiple",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
