"""What is recorded: bits are the spikes of the same run, entries of several steps are those of single ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._dynamics import _second_run
from ratelike._population import _chunk_size

GRID = rl.TimeGrid(1e-3, 45)  # not a multiple of 32, nor of a block
KEY = jax.random.key(2)
SOME = [69, 3, 69, 199]


def network(num_neurons=200, make=rl.relay_network):
    return make(
        rl.SRM0(), num_neurons=num_neurons, num_latents=2, depth=1,
        key=jax.random.key(0), bias=3.0,
    )  # fmt: skip


def recurrent(num_neurons=70):
    neuron = rl.SRM0(refractory=rl.ExponentialRefractory(dead_time=2e-3))
    return rl.attractor_network(
        neuron, num_neurons=num_neurons, num_patterns=2, key=jax.random.key(0), bias=2.0
    )


def run(network, record, dynamics=None, key=KEY, **options):
    drive = rl.WienerDrive(network.layers[0].num_latents, key=jax.random.key(1))
    dynamics = rl.Spiking() if dynamics is None else dynamics
    return rl.simulate(
        network, drive, GRID, dynamics, key=key, record=record, **options
    )


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of two tiles, so that the last one of 200 neurons is filled up with copies, which fire."""
    monkeypatch.setattr(_chunk_size, "LARGEST", 128)
    monkeypatch.setattr(_chunk_size, "IN_CACHE", 16 * 128)


def in_chunks(network, record):
    return run(network, record)


def in_a_batch_in_jit(network, record):
    keys = jnp.stack([jax.random.key(5), KEY])
    batch = jax.jit(jax.vmap(lambda key: run(network, record, key=key)))(keys)
    with pytest.raises(ValueError, match="got a batch with words of shape"):
        batch.spike_times(next(iter(batch.spikes)))
    return jax.tree.map(lambda leaf: leaf[1], batch)


def on_a_mesh(network, record):
    return run(network, record, mesh=jax.make_mesh((1,), ("neurons",)))


def given_an_estimator(network, record):
    return run(network, record, rl.Spiking(rl.train.StraightThrough()))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("way", "model"),
    [
        (in_chunks, network(make=rl.streamed_relay_network)),
        (in_a_batch_in_jit, network()),
        (on_a_mesh, network()),
        (given_an_estimator, network(70)),
        (in_chunks, recurrent()),
    ],
)
def test_bits_are_the_spikes_of_the_same_run(way, model):
    layer = 0
    size = model.layers[layer].num_neurons
    dense = run(model, {layer: range(size)}).recordings[layer]
    fired = np.asarray(dense.activity) == 1.0
    assert 0.01 < fired.mean() < 0.3
    kept = way(model, {layer: (rl.Spikes(), rl.Traces([1]))})
    np.testing.assert_array_equal(kept.recordings[layer].activity[:, 0], fired[:, 1])
    spikes = kept.spikes[layer]
    assert spikes.words.shape == (-(-size // 32), 45)
    np.testing.assert_array_equal(spikes.activity, fired)
    np.testing.assert_array_equal(spikes.counts, fired.sum(axis=0))
    steps, neurons = np.nonzero(fired)
    np.testing.assert_array_equal(spikes.pairs.steps, steps)
    np.testing.assert_array_equal(spikes.pairs.neurons, neurons)
    for train, of_one in zip(kept.spike_times(layer), fired.T, strict=True):
        middles = [n * GRID.dt + GRID.dt / 2 for n in np.flatnonzero(of_one)]
        np.testing.assert_allclose(train, middles, rtol=1e-12)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("chosen", [SOME[:2], SOME, list(range(150, 200))])
def test_spikes_of_some_neurons(chosen):
    """A few within their tiles, or many out of the bits of all; in any order, and twice."""
    model = network()
    everyone = run(model, {0: rl.Spikes()}).spikes[0].activity
    trajectory = run(model, {0: rl.Spikes(chosen)})
    spikes = trajectory.spikes[0]
    np.testing.assert_array_equal(spikes.activity, everyone[:, chosen])
    np.testing.assert_array_equal(spikes.neurons, chosen)
    steps, places = np.nonzero(everyone[:, chosen])
    np.testing.assert_array_equal(spikes.pairs.neurons, np.array(chosen)[places])
    assert spikes.words.dtype == np.uint32
    np.testing.assert_array_equal(spikes.pairs.steps, steps)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("dynamics", "chosen"),
    [
        (rl.Spiking(), None),
        (rl.Spiking(), [3]),
        (rl.ConventionalRate(rl.DirectRate()), [5, 120, 121, 199]),
    ],
)
def test_entries_of_several_steps(dynamics, chosen, monkeypatch):
    """The mean potential and the summed activity, of chunks of one tile."""
    monkeypatch.setattr(_second_run, "NUMBERS_AT_ONCE", 64 * GRID.num_steps)
    model = network()
    single = run(model, {0: range(200)}, dynamics).recordings[0]
    trajectory = run(model, {0: rl.Traces(chosen, every=9)}, dynamics)
    entries = trajectory.recordings[0]
    np.testing.assert_array_equal(entries.neurons, chosen or range(200))
    for name, put_together in (("potential", np.mean), ("activity", np.sum)):
        values = np.asarray(getattr(single, name))[:, chosen or range(200)]
        expected = put_together(values.reshape(5, 9, -1), axis=1)
        # Means of nine numbers in single precision.
        close = dict(rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(getattr(entries, name), expected, **close)
    times = trajectory.recording_times(0)
    np.testing.assert_allclose(times, np.arange(5) * 9e-3 + 4.5e-3)
    if isinstance(dynamics, rl.Spiking):
        with pytest.raises(ValueError, match="with every=1"):
            trajectory.spike_times(0)


def test_spike_times_of_traces_and_of_nothing():
    model = network(20)
    dense = run(model, {0: [1, 2]})
    bits = run(model, {0: rl.Spikes([1, 2])})
    for one, other in zip(dense.spike_times(0), bits.spike_times(0), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"one of those recorded, \[0\]"):
        dense.spike_times(1)
    rates = eqx.tree_at(
        lambda run: run.recordings[0].activity, dense, replace_fn=jnp.tanh
    )
    with pytest.raises(ValueError, match="must be one of Spiking"):
        rates.spike_times(0)


@pytest.mark.usefixtures("small_chunks")
def test_bits_of_a_piece_are_those_of_the_whole_and_its_times_go_on():
    model, common = network(), dict(dynamics=rl.Spiking(), key=KEY)
    drive = rl.WienerDrive(2, key=jax.random.key(1))
    whole = run(model, {0: rl.Spikes()})
    first, second = rl.TimeGrid(GRID.dt, 20), rl.TimeGrid(GRID.dt, 25)
    begun = rl.simulate(model, drive, first, **common, keep_final=True)
    rest = rl.simulate(
        model, drive, second, **common, record={0: rl.Spikes()}, initial=begun.final
    )
    np.testing.assert_array_equal(
        rest.spikes[0].activity, whole.spikes[0].activity[20:]
    )
    trains = zip(rest.spike_times(0), whole.spike_times(0), strict=True)
    for ours, theirs in trains:
        np.testing.assert_allclose(ours, theirs[theirs > 20e-3])


BAD = {
    "GeneralisedRate, whose neurons have an expected": dict(
        dynamics=rl.GeneralisedRate(), record={0: rl.Spikes()}
    ),
    r"record\[0\]\.every must divide the 45 steps of the grid, got 2": dict(
        record={0: rl.Traces(every=2)}
    ),
    "one Spikes and one Traces at most": dict(record={0: [rl.Spikes(), rl.Spikes()]}),
    "from 0 to 19, got": dict(record={0: rl.Spikes([20])}),
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_recorded(message):
    with pytest.raises(ValueError, match=message):
        run(network(20), **BAD[message])


def test_every_is_a_count():
    with pytest.raises(ValueError, match=r"Traces\.every"):
        rl.Traces(every=0)
