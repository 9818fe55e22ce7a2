"""At top level the neurons of predictions are shared out among threads of the host, whose number changes no bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._population import _host_threads, _sums

pytestmark = pytest.mark.usefixtures("any_ranks")

GRID = rl.TimeGrid(1e-3, 30)
INCREMENTS = rl.WienerDrive(2, key=jax.random.key(1)).increments(GRID)
TARGET = jnp.ones((30, 2))
KEY = jax.random.key(2)
NEURON = rl.SRM0(refractory=rl.ExponentialRefractory(memory=20e-3))


def relay(num_neurons, depth, **options):
    return rl.relay_network(
        NEURON,
        num_neurons=num_neurons,
        num_latents=2,
        depth=depth,
        key=jax.random.key(0),
        **options,
    )


def looped():
    layer = relay(300, 1).layers[0]
    feedback = rl.Feedback(layer.encoder, -0.2 * layer.decoder, 2e-3)
    return rl.Network(
        [rl.Layer(NEURON, layer.encoder, layer.decoder, 1.0, feedback), layer]
    )


def error(network):
    return rl.expected_error(network, INCREMENTS, GRID, key=KEY, burn_in=5)


def loss(network):
    return rl.expected_spiking_loss(network, INCREMENTS, GRID, TARGET, key=KEY)


def nonlinear(network):
    response = rl.NonlinearResponse()
    return rl.expected_error(network, INCREMENTS, GRID, key=KEY, response=response)


def variance(network):
    return rl.readout_variance(network.layers[0], INCREMENTS, GRID)


def covariance(network):
    return rl.readout_covariance(
        network.layers[0], INCREMENTS, GRID, age_mesh=rl.AgeMesh.uniform()
    )


CASES = {
    "one layer, graded": (error, lambda: relay(1100, 1)),
    "two layers": (error, lambda: relay(600, 2)),
    "synapses": (loss, lambda: relay(600, 2, synapse=rl.AlphaSynapse(3e-3))),
    "feedback": (loss, looped),
    "variance": (variance, lambda: relay(1100, 1)),
    "covariance, exact": (covariance, lambda: relay(600, 1)),
    "runs side by side": (nonlinear, lambda: relay(600, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_any_number_of_threads_gives_the_same_bits_and_one_program_the_same_numbers(
    name, monkeypatch
):
    function, make_network = CASES[name]
    network, chunks = make_network(), []
    inner = _sums.map_in_threads

    def watched(run_chunk, count, threads, *arrays, **options):
        chunks.append(count)
        return inner(run_chunk, count, threads, *arrays, **options)

    monkeypatch.setattr(_sums, "map_in_threads", watched)
    values = []
    for cores in (1, 3):
        monkeypatch.setattr(_host_threads, "num_cores", lambda cores=cores: cores)
        values.append(function(network))
    if function is nonlinear:
        assert not chunks, "runs side by side are one program"
    else:
        assert max(chunks) > 1
    in_threads = len(chunks)
    np.testing.assert_array_equal(*values)
    assert np.isfinite(values[0]).all()
    in_one = jax.jit(function)(network)
    assert len(chunks) == in_threads, "within jit there are no threads"
    # A mean may be rounded differently where it is fused with what it is of.
    np.testing.assert_allclose(in_one, values[0], rtol=1e-14)


def test_a_batch_and_a_gradient_have_no_threads(monkeypatch):
    def refused(*_, **__):
        raise AssertionError("threads within a transformation")

    monkeypatch.setattr(_sums, "map_in_threads", refused)
    network = relay(600, 1)
    jax.grad(
        lambda bias: error(rl.Network([rl.Layer(NEURON, *connections(network), bias)]))
    )(jnp.ones(600))
    with pytest.raises(AssertionError, match="threads within"):
        error(network)


def connections(network):
    return network.layers[0].encoder, network.layers[0].decoder
