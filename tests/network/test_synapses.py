"""Synapses of layers and of feedback, against filters in NumPy and dense weights, one connection after the other."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

DT, NUM_STEPS, TAU_M = 1e-3, 60, 10e-3
GRID = rl.TimeGrid(DT, NUM_STEPS)
KEY = jax.random.key(0)
DYNAMICS = {
    "spiking": rl.Spiking(),
    "generalised": rl.GeneralisedRate(),
    "conventional": rl.ConventionalRate(rl.DirectRate()),
}
NEURON = rl.SRM0(
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


def layer(num_neurons, **arguments):
    values = arrays(num_neurons)
    return rl.Layer(
        NEURON, values["encoder"], values["decoder"], values["bias"], **arguments
    )


def simulate(layer, increments, dynamics, **arguments):
    return rl.simulate(
        rl.Network([layer]), increments, GRID, dynamics, key=KEY, **arguments
    )


# What comes in


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_layer_hears_what_its_synapse_lets_through(name):
    """With threads at top level, within jit, and two inputs under vmap."""
    inputs = jnp.stack([jnp.asarray(INCREMENTS), jnp.asarray(INCREMENTS)[::-1]])
    filtered = [numpy_synapse(np.asarray(each)) for each in inputs]
    plain, with_it = layer(70), layer(70, synapse=SYNAPSE)
    expected = [
        simulate(plain, each, DYNAMICS[name]).increments[0] for each in filtered
    ]
    alone = simulate(with_it, inputs[0], DYNAMICS[name]).increments[0]
    np.testing.assert_allclose(alone, expected[0], rtol=1e-9, atol=1e-14)

    @jax.jit
    @jax.vmap
    def together(increments):
        return simulate(with_it, increments, DYNAMICS[name]).increments[0]

    np.testing.assert_allclose(together(inputs), expected, rtol=1e-9, atol=1e-14)
    if name == "generalised":
        lines = rl.GeneralisedRate(diffrax.Heun(), age_step=1e-3)
        path = rl.GridPath(INCREMENTS, GRID)
        np.testing.assert_allclose(
            simulate(with_it, path, lines).outputs,
            simulate(plain, rl.GridPath(filtered[0], GRID), lines).outputs,
            rtol=1e-9,
            atol=1e-14,
        )


def relay(make, **arguments):
    return make(
        rl.SRM0(), num_neurons=150, num_latents=2, depth=2, key=KEY, **arguments
    )


def test_streamed_layers_and_smaller_ones_keep_their_synapse():
    arguments = dict(synapse=[rl.Delay([1e-3, 0.0]), rl.AlphaSynapse(2e-3)])
    streamed = relay(rl.streamed_relay_network, **arguments)
    stored = relay(rl.relay_network, **arguments)
    run = [
        rl.simulate(network, INCREMENTS, GRID, rl.Spiking(), key=KEY).outputs
        for network in (streamed, stored, streamed.stored())
    ]
    np.testing.assert_array_equal(run[0], run[1])
    np.testing.assert_array_equal(run[0], run[2])
    plain = relay(rl.relay_network)
    other = rl.simulate(plain, INCREMENTS, GRID, rl.Spiking(), key=KEY).outputs
    assert np.abs(run[0] - other).max() > 1e-3
    smaller = streamed.layers[1].first(70)
    assert smaller.synapse is streamed.layers[1].synapse
    infinite = rl.infinite_relay_network(
        rl.SRM0(), num_latents=2, depth=2, nodes=rl.GaussHermite(2), **arguments
    )
    np.testing.assert_allclose(
        infinite.layers[1].encoder / jnp.abs(infinite.layers[1].encoder[:1]),
        jnp.sign(infinite.layers[1].encoder),
    )


def test_convergence_is_that_of_each_network_simulated_alone():
    """Time constants that differ between networks, before layers and within feedback, several networks in one run."""
    grid, size = rl.TimeGrid(DT, 20), 70

    def make_network(num_neurons, key):
        taus = 10e-3 * jax.random.uniform(key, (3,))
        values = {name: jnp.asarray(each) for name, each in arrays(num_neurons).items()}
        feedback = rl.Feedback(
            values["encoder"],
            10.0 * values["decoder"],
            synapse=rl.ExponentialSynapse(taus[:2]),
        )
        first = rl.Layer(NEURON, *values.values(), synapse=rl.AlphaSynapse(taus[2]))
        feedbacks = [
            feedback,
            rl.Feedback(values["encoder"], values["decoder"], 2 * DT),
        ]
        second = rl.Layer(
            NEURON, *values.values(), feedbacks, synapse=rl.ExponentialSynapse(taus[:2])
        )
        return rl.Network([first, second])

    conventional = rl.ConventionalRate(rl.DirectRate())
    result = rl.convergence(
        make_network,
        [size],
        grid,
        num_trials=2,
        key=KEY,
        burn_in=5,
        dynamics=rl.study.ComparedDynamics(conventional=conventional),
        execution=rl.study.Execution(budget=320),
    )
    for trial in range(2):
        of_size = jax.random.fold_in(KEY, size)
        keys = jax.random.split(jax.random.fold_in(of_size, trial), 3)
        alone = make_network(size, keys[0])
        drive = rl.WienerDrive(2, tau_m=TAU_M, key=keys[1]).increments(grid)
        spiking = rl.simulate(alone, drive, grid, rl.Spiking(), key=keys[2])
        rate = rl.simulate(alone, drive, grid, conventional)
        exact = np.abs(np.asarray(spiking.outputs) - rate.outputs)[5:].mean()
        np.testing.assert_allclose(
            result.conventional.values[0][trial], exact, rtol=1e-9
        )


# Without spikes


def test_expected_error_of_layers_with_synapses():
    """Of one layer that of filtered input, bit for bit nearly; of two against 256 spiking runs, and not without the synapse.

    The mean over runs has a standard error of about 1%; linear noise and probes add 2%. A synapse of 20 ms takes most of
    what the first layer passes on.
    """
    one, plain = layer(70, synapse=SYNAPSE), layer(70)
    filtered = numpy_synapse(INCREMENTS)
    np.testing.assert_allclose(
        rl.readout_variance(one, INCREMENTS, GRID),
        rl.readout_variance(plain, filtered, GRID),
        rtol=1e-9,
    )
    values = arrays(200)
    second = rl.Layer(
        NEURON,
        4.0 * values["encoder"],
        values["decoder"],
        values["bias"],
        synapse=rl.ExponentialSynapse(20e-3),
    )
    network = rl.Network([layer(200), second])
    predicted = rl.expected_error(
        network, INCREMENTS, GRID, burn_in=30, num_probes=64, key=KEY
    )
    exact = rl.simulate(network, INCREMENTS, GRID, rl.GeneralisedRate()).outputs

    @jax.jit
    @jax.vmap
    def error(key):
        run = rl.simulate(network, INCREMENTS, GRID, rl.Spiking(), key=key)
        return rl.mean_absolute_error(run.outputs, exact, burn_in=30)

    errors = np.asarray(error(jax.random.split(KEY, 256)))
    standard_error = errors.std() / np.sqrt(errors.size)
    assert standard_error < 0.03 * errors.mean()
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
    network = layer(size, feedback=both_feedbacks(size))
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
    for dynamics in (rl.GeneralisedRate(), rl.ConventionalRate()):
        runs = [
            simulate(layer(size, feedback=each), INCREMENTS, dynamics).outputs
            for each in (apart, stacked)
        ]
        np.testing.assert_allclose(*runs, rtol=1e-9, atol=1e-12)


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
        run = simulate(made, INCREMENTS, rl.GeneralisedRate())
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
