"""Layers of named populations: against a loop over steps in NumPy with the matrix of weights written out, block by block."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from tests.network import test_recurrence as brute_force

pytestmark = pytest.mark.usefixtures("any_ranks")

# In different tiles, the last one not full.
EXC, INH = 50, 20
DT, GRID, KEY = brute_force.DT, brute_force.GRID, brute_force.KEY


def arrays():
    generator = np.random.default_rng(5)
    return dict(
        bias=generator.normal(size=EXC),
        input=generator.normal(size=(EXC, 2)),
        to_inh=generator.random((INH, 2)) * 3.0,
        of_exc=generator.random((EXC, 2)) * 0.1,
        to_exc=-generator.random((EXC, 1)) * 3.0,
        of_inh=generator.random((INH, 1)) * 0.2,
        increments=0.01 * generator.normal(size=(brute_force.NUM_STEPS, 2)),
    )


def populations(values):
    neuron = brute_force.neuron()
    return {
        "exc": rl.Neurons(neuron, EXC, values["bias"], sign=+1),
        "inh": rl.Neurons(neuron, INH, -0.5, sign=-1),
    }


def connections(values):
    return [
        rl.Connection("exc", "inh", values["to_inh"], values["of_exc"], 2e-3),
        rl.Connection("inh", "exc", values["to_exc"], values["of_inh"], 2e-3),
        rl.Connection("inh", "inh", -2.0, values["of_inh"], 2e-3),
        rl.Connection("exc", "exc", 2.0, 0.05, 2e-3),
    ]


def weights(values):
    """To neuron i from neuron j, per neuron of the source."""
    blocks = [
        [np.full((EXC, EXC), 0.1) / EXC, values["to_exc"] @ values["of_inh"].T / INH],
        [
            values["to_inh"] @ values["of_exc"].T / EXC,
            -2.0 * np.ones((INH, 1)) @ values["of_inh"].T / INH,
        ],
    ]
    return np.block(blocks)


def layer(values, **changes):
    return rl.population_layer(
        populations(values),
        connections(values),
        **(dict(input={"exc": values["input"]}) | changes),
    )


@pytest.mark.parametrize("name", ["spiking", "generalised", "conventional"])
def test_it_is_the_network_of_the_weights_written_out(name):
    values = arrays()
    size = EXC + INH
    reference = dict(
        bias=np.concatenate([values["bias"], np.full(INH, -0.5)]),
        encoder=np.concatenate([values["input"], np.zeros((INH, 2))]),
        feedback_encoder=size * weights(values),
        feedback_decoder=np.eye(size),
        increments=values["increments"],
    )
    react = {
        "spiking": brute_force.NumpySpiking(size, 2),
        "generalised": brute_force.NumpyGeneralised(size),
        "conventional": brute_force.numpy_conventional,
    }[name]
    _, activity = brute_force.reference(reference, react, 2, False)
    run = rl.simulate(
        rl.Network([layer(values)]),
        values["increments"],
        GRID,
        brute_force.DYNAMICS[name],
        key=KEY,
        record={0: range(size)},
    )
    close = dict(rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(run.recordings[0].activity, activity, **close)
    means = {"exc": activity[:, :EXC].mean(1), "inh": activity[:, EXC:].mean(1)}
    for index, (population, mean) in enumerate(means.items()):
        rates = run.population_rates[0][population]
        np.testing.assert_allclose(rates, mean / DT, **close)
        np.testing.assert_allclose(run.increments[0, :, index], mean, **close)
    recorded = run.recorded("inh")
    np.testing.assert_array_equal(recorded.neurons, np.arange(EXC, size))
    np.testing.assert_allclose(recorded.activity, activity[:, EXC:], **close)


def test_latents_are_shared_and_zero_elsewhere():
    """One feedback of few latents: to_inh, to_exc with inh -> inh on the same decoder, and exc -> exc."""
    made = layer(arrays(), output={"inh": 3.0})
    feedback = made.feedback[0] if isinstance(made.feedback, tuple) else made.feedback
    assert feedback.encoder.shape == (EXC + INH, 4)
    np.testing.assert_allclose(feedback.weights, zero_diagonal(weights(arrays())))
    expected = np.repeat([0.0, 3.0 * (EXC + INH) / INH], [EXC, INH])
    np.testing.assert_allclose(made.decoder[:, 0], expected)
    assert made.populations == {"exc": range(EXC), "inh": range(EXC, EXC + INH)}


def zero_diagonal(weights):
    return np.where(np.eye(len(weights), dtype=bool), 0.0, weights)


def test_neurons_of_other_parameters_and_of_other_kinds():
    """Arrays where only parameters differ, a mixture otherwise: each population is what it would be alone."""
    slow, fast = (rl.SRM0(tau, rl.ExponentialEscape(20.0)) for tau in (20e-3, 5e-3))
    tau_of_each = np.linspace(5e-3, 9e-3, 3)
    lif = rl.LIF(tau_of_each, rl.ExponentialEscape(20.0), v_reset=-2.0)
    kinds = {
        "slow": rl.Neurons(slow, 4, 0.5),
        "lif": rl.Neurons(lif, 3, 1.0),
        "fast": rl.Neurons(fast, 2, -0.5),
    }
    alike = {name: kinds[name] for name in ("slow", "fast")}
    assert isinstance(rl.population_layer(alike).neuron, rl.SRM0)
    mixed = rl.population_layer(kinds)
    assert isinstance(mixed.neuron, rl.Mixture)
    assert len(mixed.neuron.neurons) == 2

    def run(layer):
        network, grid = rl.Network([layer]), rl.TimeGrid(DT, 20)
        return rl.simulate(network, None, grid, rl.GeneralisedRate())

    rates = run(mixed).population_rates[0]
    for name, each in kinds.items():
        expected = run(rl.population_layer({name: each})).rates[0]
        np.testing.assert_allclose(rates[name], expected, rtol=1e-8)


@pytest.mark.slow
def test_under_transformations():
    """Batches, jit, devices and reverse mode, where rates of populations are an output like any other."""
    values, grid = arrays(), rl.TimeGrid(DT, 12)
    network = rl.Network([layer(values)])

    def rate(scale, **options):
        increments = scale * values["increments"][:12]
        dynamics = rl.GeneralisedRate()
        run = rl.simulate(network, increments, grid, dynamics, **options)
        return run.population_rates[0]["inh"]

    expected = rate(1.0)
    batch = jax.jit(jax.vmap(rate))(jnp.asarray([1.0, 2.0]))
    np.testing.assert_allclose(batch[0], expected, rtol=1e-9)
    on_mesh = rate(1.0, mesh=jax.make_mesh((1,), ("neurons",)))
    np.testing.assert_allclose(on_mesh, expected, rtol=1e-9)
    gradient = jax.grad(lambda scale: jnp.mean(rate(scale)))(1.0)
    difference = jnp.mean(rate(1.0 + 1e-5) - rate(1.0 - 1e-5)) / 2e-5
    np.testing.assert_allclose(gradient, difference, rtol=1e-5)


def test_chunks_count_as_the_whole_does():
    """A population that begins in the middle of a chunk, without recurrence."""
    neuron = brute_force.neuron()
    sizes = {"a": 700, "b": 5000, "c": 30}
    made = rl.population_layer({k: rl.Neurons(neuron, n) for k, n in sizes.items()})
    network, grid = rl.Network([made]), rl.TimeGrid(DT, 8)
    cut = rl.simulate(network, None, grid, rl.Spiking(), key=KEY)
    whole = rl.simulate(
        network, None, grid, rl.Spiking(), key=KEY, record={0: range(5730)}
    )
    assert eqx.tree_equal(cut.population_rates, whole.population_rates)
    for name, members in made.populations.items():
        fired = np.asarray(whole.recordings[0].activity)[:, list(members)]
        np.testing.assert_allclose(cut.population_rates[0][name], fired.mean(1) / DT)


def refused(message, **changes):
    def build():
        values = arrays()
        given = dict(populations=populations(values), connections=connections(values))
        given |= {key: change(values) for key, change in changes.items()}
        return rl.population_layer(
            given.pop("populations"), given.pop("connections"), **given
        )

    return pytest.param(message, build, id=message)


def only(*arguments):
    return dict(connections=lambda values: [rl.Connection(*arguments)])


@pytest.mark.parametrize(
    ("message", "build"),
    [
        refused("connections[0].target must be one of the populations ['exc', 'inh'], got 'pv'", **only("exc", "pv", 1.0, 1.0)),
        refused("connections[0].encoder must have shape (20, 1), got shape (50, 1)", **only("exc", "inh", np.ones((50, 1)), 1.0)),
        refused("connections[0].decoder must have shape (50, 2), got shape (50, 3)", **only("exc", "inh", np.ones((20, 2)), np.ones((50, 3)))),
        refused("connections[0] must have encoder times decoder at least 0 in every latent, as populations['exc'].sign = +1 says, got -1", **only("exc", "inh", -1.0, 1.0)),
        refused("at most 0 in every latent, as populations['inh'].sign = -1", **only("inh", "exc", np.linspace(-1, 0.1, 50)[:, None], 1.0)),
        refused("input must name some of the populations ['exc', 'inh'], got 'pv'", input=lambda values: {"pv": 1.0}),
        refused("input['inh'] must have shape (20, 2), got shape (20, 1)", input=lambda values: {"exc": values["input"], "inh": np.ones((20, 1))}),
        refused("output must name at least one population", output=lambda values: {}),
        refused("populations must name at least one", populations=lambda values: {}),
        refused("populations['exc'] must be an instance of Neurons", populations=lambda values: {"exc": 3}),
        refused("Connection.delay must be finite and greater than 0", connections=lambda values: [rl.Connection("exc", "exc", 1.0, 1.0, 0.0)]),
        refused("Neurons.sign must be +1, -1 or None, got 2", populations=lambda values: {"exc": rl.Neurons(brute_force.neuron(), 2, sign=2)}),
        refused("Neurons.bias must have shape (2), got shape (3,)", populations=lambda values: {"exc": rl.Neurons(brute_force.neuron(), 2, np.ones(3))}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(message, build):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


def test_names_that_are_not_there():
    neuron, ones = brute_force.neuron(), np.ones((4, 1))
    with pytest.raises(ValueError, match="must have the 4 neurons .* got 3"):  # noqa: RUF043
        rl.Layer(neuron, ones, ones, populations={"a": 1, "b": 2})
    named = rl.Layer(neuron, ones, ones, populations={"a": 1, "b": 3})
    steps = np.zeros((brute_force.NUM_STEPS, 1))
    network = rl.Network([named])
    run = rl.simulate(network, steps, GRID, rl.GeneralisedRate(), record={0: [0, 2]})
    np.testing.assert_array_equal(run.recorded("b").neurons, [2])
    with pytest.raises(ValueError, match=r"population must be one of .*'a', 'b'.* 'c'"):
        run.recorded("c")
    with pytest.raises(ValueError, match=r"layer must be one of the recorded ones"):
        run.recorded("a", layer=1)


def test_each_connection_has_its_synapse():
    """Feedbacks written by hand, with a synapse of numbers for one connection and one for two others."""
    neuron, slow = brute_force.neuron(), rl.ExponentialSynapse(8e-3)
    fast = rl.ExponentialSynapse(np.array([2e-3, 4e-3]))
    values, grid = arrays(), rl.TimeGrid(DT, 20)
    made = rl.population_layer(
        {"exc": rl.Neurons(neuron, EXC), "inh": rl.Neurons(neuron, INH)},
        [
            rl.Connection("exc", "inh", values["to_inh"], values["of_exc"], synapse=fast),
            rl.Connection("inh", "exc", -1.0, 0.2, synapse=slow),
            rl.Connection("exc", "exc", 3.0, 0.1, synapse=rl.ExponentialSynapse(8e-3)),
        ],
        output={"inh": 1.0},
    )  # fmt: skip
    assert isinstance(made.feedback, tuple)
    assert len(made.feedback) == 2
    size = EXC + INH
    encoders, decoders = np.zeros((2, size, 2)), np.zeros((2, size, 2))
    encoders[0, EXC:], decoders[0, :EXC] = values["to_inh"], values["of_exc"] / EXC
    encoders[1, :EXC], decoders[1, EXC:, 0] = [-1.0, 3.0], 0.2 / INH
    decoders[1, :EXC, 1] = 0.1 / EXC
    feedback = [
        rl.Feedback(encoder, size * decoder, synapse=synapse)
        for encoder, decoder, synapse in zip(
            encoders, decoders, (fast, slow), strict=True
        )
    ]
    by_hand = rl.Layer(neuron, None, made.decoder, 0.0, feedback)
    runs = [
        rl.simulate(rl.Network([each]), None, grid, rl.GeneralisedRate()).outputs
        for each in (made, by_hand)
    ]
    np.testing.assert_allclose(*runs, rtol=1e-9)
