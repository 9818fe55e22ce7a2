"""Streamed layers are the stored ones, bit for bit, and keep nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._population import _chunk_size, _sums

# Of no other test, so that nothing compiled for larger parts is used.
GRID = rl.TimeGrid(0.5e-3, 41)
SIZE = dict(num_neurons=1000, num_latents=3, key=jax.random.key(0))
STREAMED = rl.streamed_relay_network(rl.SRM0(), depth=2, **SIZE)
DYNAMICS = (rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate())


@pytest.fixture
def small_parts(monkeypatch):
    """More parts than one group takes, so that sums are nested."""
    monkeypatch.setattr(_chunk_size, "LARGEST", 128)
    monkeypatch.setattr(_sums, "KEPT_SUMS", 4)


def run(network, dynamics, record=None):
    increments = rl.WienerDrive(3, key=jax.random.key(1)).increments(GRID)
    key = jax.random.key(2) if dynamics.needs_key else None
    return rl.simulate(network, increments, GRID, dynamics, key=key, record=record)


def test_connections_are_those_of_the_stored_network():
    stored = rl.relay_network(rl.SRM0(), depth=2, **SIZE)
    for ours, theirs in zip(STREAMED.layers, stored.layers, strict=True):
        same = jax.tree.map(np.testing.assert_array_equal, ours.stored(), theirs)
        assert jax.tree.structure(same) is not None
        assert ours.num_neurons == theirs.num_neurons == 1000
    np.testing.assert_array_equal(STREAMED.weights(0), stored.weights(0))
    leaves = jax.tree.leaves(STREAMED)
    assert sum(leaf.size for leaf in leaves) < 40, "nothing as long as the neurons"


@pytest.mark.parametrize("dynamics", DYNAMICS, ids=lambda each: type(each).__name__)
def test_runs_as_the_stored_network_does(dynamics, small_parts):
    streamed = rl.streamed_relay_network(rl.SRM0(), depth=1, **SIZE)
    stored = rl.relay_network(rl.SRM0(), depth=1, **SIZE)
    record = {0: [3, 999]}
    ours, theirs = (run(each, dynamics, record) for each in (streamed, stored))
    np.testing.assert_array_equal(ours.increments, theirs.increments)
    np.testing.assert_array_equal(ours.rates, theirs.rates)
    jax.tree.map(np.testing.assert_array_equal, ours.recordings, theirs.recordings)
    assert np.std(ours.outputs) > 0.0


def test_grouped_sums_are_one_tree():
    terms = jax.random.normal(jax.random.key(0), (37, 5, 2))

    def run_chunk(index):
        return terms[index], index >= 0

    whole = _sums._sum((terms, jnp.ones(37, bool)))[0]
    for group in (1, 2, 8, 64):
        grouped, count = _sums._grouped(run_chunk, 37, 2, at_most=group)
        assert count <= group
        sums = jax.lax.map(grouped, jnp.arange(count, dtype=jnp.int32))
        np.testing.assert_array_equal(_sums._sum(sums)[0], whole)
    np.testing.assert_allclose(whole, terms.sum(axis=0), rtol=1e-12)


class Wrong(rl.extend.AbstractConnectivity):
    num_latents: int = 2
    num_latents_out: int = 2

    def __call__(self, tile_key):
        return jnp.zeros((64, 3)), jnp.zeros((64, 2)), jnp.zeros(())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(num_neurons=0), "num_neurons"),
        (dict(key=None), "key"),
        (dict(connectivity=Wrong()), "encoder"),
        (dict(neuron=rl.SRM0(np.full(10, 1e-2))), "neuron"),
    ],
)
def test_bad_arguments(change, message):
    layer = STREAMED.layers[0]
    arguments = dict(neuron=layer.neuron, connectivity=layer.connectivity)
    arguments |= dict(num_neurons=10, key=jax.random.key(0)) | change
    with pytest.raises(ValueError, match=message):
        rl.StreamedLayer(**arguments)
