"""Networks into which nothing comes from outside: those with an input of zeros, bit for bit."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

NEURON = rl.SRM0(refractory=rl.ExponentialRefractory(memory=10e-3))
GRID = rl.TimeGrid(1e-3, 30)
KEY = jax.random.key(0)
NUM_NEURONS = 70


def network(encoder, is_recurrent):
    generator = np.random.default_rng(0)
    decoder = 0.05 * generator.normal(size=(NUM_NEURONS, 2))
    feedback = rl.Feedback(generator.normal(size=(NUM_NEURONS, 2)), decoder)
    feedback = feedback if is_recurrent else None
    return rl.Network([rl.Layer(NEURON, encoder, decoder, 0.5, feedback)])


@pytest.mark.parametrize(
    ("dynamics", "is_recurrent"),
    [
        (rl.Spiking(), True),
        (rl.GeneralisedRate(), False),
        pytest.param(rl.ConventionalRate(), False, marks=pytest.mark.slow),
    ],
    ids=["spiking", "generalised", "conventional"],
)
def test_no_input_is_an_input_of_zeros(dynamics, is_recurrent):
    without = network(None, is_recurrent)
    dummy = network(np.zeros((NUM_NEURONS, 1)), is_recurrent)

    def run(network, increments, **options):
        return rl.simulate(network, increments, GRID, dynamics, key=KEY, **options)

    expected = run(dummy, np.zeros((30, 1)), record={0: [1, 66]})
    found = run(without, None, record={0: [1, 66]})
    assert eqx.tree_equal(found, expected)
    mesh = jax.make_mesh((1,), ("neurons",))
    of_devices = run(without, np.zeros((30, 0)), mesh=mesh)
    np.testing.assert_array_equal(of_devices.outputs, expected.outputs)
    # A batch of networks within jit.
    biases = jnp.stack([without.layers[0].bias, 0.0 * without.layers[0].bias])

    def of_bias(bias):
        return run(eqx.tree_at(lambda n: n.layers[0].bias, without, bias), None).outputs

    batch = jax.jit(jax.vmap(of_bias))(biases)
    np.testing.assert_allclose(batch[0], expected.outputs, rtol=1e-10, atol=1e-13)
    assert np.any(batch[1] != batch[0])


def test_studies_need_no_drive():
    def make(num_neurons, key):
        generator = np.random.default_rng(0)
        connections = generator.normal(size=(num_neurons, 2))
        feedback = rl.Feedback(connections, 0.05 * connections)
        return rl.Network([rl.Layer(NEURON, None, connections, 0.5, feedback)])

    study = rl.convergence(make, [64, 128], GRID, num_trials=2, key=KEY)
    assert np.all(study.generalised.mean() > 0.0)


def test_an_input_that_is_missing_is_told():
    with pytest.raises(
        ValueError, match=r"must be given for the 1 latents .* got None"
    ):
        rl.simulate(
            network(np.ones((NUM_NEURONS, 1)), False), None, GRID, rl.Spiking(), key=KEY
        )
    with pytest.raises(ValueError, match=r"must take the 2 latents .* got 0"):
        rl.Network([network(None, False).layers[0]] * 2)
    with pytest.raises(ValueError, match=r"Layer.encoder must have shape \(70, 0\)"):
        network(np.zeros((69, 0)), False)
