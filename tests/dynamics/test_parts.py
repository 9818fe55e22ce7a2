"""A layer as a sum over parts: the size of the parts changes no bit."""

import jax
import numpy as np
import pytest

import ratelike as rl
from ratelike._population import _chunk_size

GRID = rl.TimeGrid(0.5e-3, 60)


def run(num_neurons, depth, dynamics, key=None, record=None):
    network = rl.relay_network(
        rl.SRM0(),
        num_neurons=num_neurons,
        num_latents=3,
        depth=depth,
        key=jax.random.key(0),
    )
    increments = rl.WienerDrive(3, key=jax.random.key(1)).increments(GRID)
    return rl.simulate(network, increments, GRID, dynamics, key=key, record=record)


@pytest.mark.parametrize(
    ("num_neurons", "depth"), [(320, 1), pytest.param(200, 2, marks=pytest.mark.slow)]
)
def test_parts_change_no_bit(num_neurons, depth, monkeypatch):
    spiking = dict(dynamics=rl.Spiking(), key=jax.random.key(2))
    rate = dict(dynamics=rl.GeneralisedRate())
    record = {0: [0, num_neurons - 1], depth - 1: [70, num_neurons - 1]}
    together = [
        run(num_neurons, depth, record=record, **each) for each in (spiking, rate)
    ]
    # With one more neuron, so that nothing compiled for larger parts is used again.
    more = {layer: [*neurons, 5] for layer, neurons in record.items()}
    monkeypatch.setattr(_chunk_size, "IN_CACHE", 201 * 128)
    monkeypatch.setattr(_chunk_size, "LARGEST", 128)
    assert rl.GeneralisedRate().neurons_at_once(rl.SRM0(), GRID) == 128
    apart = [run(num_neurons, depth, record=more, **each) for each in (spiking, rate)]
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one.increments, other.increments)
        np.testing.assert_array_equal(one.rates, other.rates)
        for layer in record:
            for name in ("potential", "activity"):
                np.testing.assert_array_equal(
                    getattr(one.recordings[layer], name),
                    getattr(other.recordings[layer], name)[:, :-1],
                )


@pytest.mark.parametrize("dynamics", [rl.Spiking(), rl.ConventionalRate()])
def test_memory_grows_with_time_by_the_latents_alone(dynamics):
    """Not by what each of 32 tiles decodes."""
    network = rl.relay_network(
        rl.SRM0(), num_neurons=2048, num_latents=2, depth=1, key=jax.random.key(0)
    )
    key = jax.random.key(1) if dynamics.needs_key else None

    def temporary(num_steps):
        grid = rl.TimeGrid(1e-3, num_steps)

        def outputs(increments):
            return rl.simulate(network, increments, grid, dynamics, key=key).outputs

        increments = jax.ShapeDtypeStruct((num_steps, 2), network.layers[0].bias.dtype)
        compiled = jax.jit(outputs).lower(increments).compile()
        memory = compiled.memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    latents = 4 * 3 * network.layers[0].bias.dtype.itemsize  # with a count, four times
    assert temporary(6400) - temporary(3200) < 3200 * latents
