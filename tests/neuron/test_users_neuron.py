"""A neuron of a user's own takes the same ways as a built-in one, where it says what they need."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._neuron._hazards import shared_factors
from tests.oracles.users_neuron import users_srm

GRID = rl.TimeGrid(1e-3, 60)
DRIVE = rl.WienerDrive(3, key=jax.random.key(1))
DYNAMICS = {
    "spiking": rl.Spiking(),
    "exact": rl.GeneralisedRate(),
    "graded": rl.GeneralisedRate(rl.AgeShift(rl.AgeMesh.graded(rl.SRM0(), 1e-2))),
    "conventional": rl.ConventionalRate(),
}


def network(neuron):
    sizes = dict(num_neurons=70, num_latents=3, depth=2)
    return rl.relay_network(neuron, **sizes, key=jax.random.key(0))


@pytest.mark.parametrize("name", DYNAMICS)
def test_srm0_by_hand_has_the_bits_of_srm0(name):
    """The same products of the same two factors: every other way to the hazard is rounded differently."""
    dynamics, ours = DYNAMICS[name], network(rl.SRM0())
    users = eqx.tree_at(
        lambda n: [layer.neuron for layer in n.layers], ours, [users_srm()] * 2
    )
    key = jax.random.key(2) if dynamics.needs_key else None
    a, b = (rl.simulate(n, DRIVE, GRID, dynamics, key=key) for n in (users, ours))
    np.testing.assert_array_equal(a.increments, b.increments)
    np.testing.assert_array_equal(a.rates, b.rates)


def test_srm0_by_hand_separates_its_hazard_as_long_as_neurons_share_its_ratio():
    neuron = users_srm()
    assert shared_factors(neuron) is not None
    each = eqx.tree_at(lambda n: n.dead_time, neuron, jnp.asarray([2e-3, 3e-3]))
    assert shared_factors(each) is None


def test_a_ratio_that_leaves_its_range_is_refused():
    strong = eqx.tree_at(lambda n: n.amplitude, users_srm(), jnp.asarray(80.0))
    with pytest.raises(ValueError, match="must keep the ratio"):
        network(strong)
