"""The firing of a refractory density: the same bits whoever is computed beside, and cohorts that merge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ratelike._density._firing import AgeRatio, SeparableHazard, firing
from ratelike._density._merge_schedule import Event
from ratelike._density._merging import merge

AGES, NEURONS, DT = 21, 64, 1e-3


def density(dtype, largest: float):
    """Shares, and a separable hazard whose largest dt rho is `largest`."""
    share, potential, age = (np.random.default_rng(seed) for seed in range(3))
    of_age = np.concatenate([np.zeros(3), age.uniform(size=AGES - 4), [1.0]])
    of_potential = potential.uniform(size=NEURONS)
    of_potential[0] = 1.0
    hazard = SeparableHazard(
        jnp.asarray(of_potential * largest / DT, dtype),
        AgeRatio(jnp.asarray(of_age, dtype)),
    )
    return jnp.asarray(share.dirichlet(np.ones(AGES), NEURONS).T, dtype), hazard


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)]
)
@pytest.mark.parametrize("largest", [0.9, 30.0])
def test_firing_is_what_expm1_says(dtype, tolerance, largest):
    share, hazard = density(dtype, largest)
    fired = jax.jit(firing, static_argnums=2)(share, hazard, DT)
    x = np.asarray(hazard.of_age.younger, float)[:, None] * np.asarray(
        hazard.of_potential
    )
    expected = np.asarray(share, float) * -np.expm1(-DT * x.astype(float))
    np.testing.assert_allclose(fired, expected, rtol=tolerance)


def test_no_bit_depends_on_a_neighbour_who_fires_at_once():
    """One large hazard sends all of its part through the longer computation."""
    share, hazard = density("float32", 0.9)
    loud = SeparableHazard(hazard.of_potential.at[0].set(30.0 / DT), hazard.of_age)
    run = jax.jit(firing, static_argnums=2)
    quietly, loudly = run(share, hazard, DT), run(share, loud, DT)
    assert np.all(np.asarray(quietly)[1:, 0] <= np.asarray(loudly)[1:, 0])
    np.testing.assert_array_equal(quietly[:, 1:], loudly[:, 1:])

    def batched(of_potential):
        return firing(share, SeparableHazard(of_potential, hazard.of_age), DT)

    both = jnp.stack([hazard.of_potential, loud.of_potential])
    np.testing.assert_array_equal(jax.jit(jax.vmap(batched))(both), [quietly, loudly])


@pytest.mark.parametrize("elder", [5, AGES - 1], ids=["merges", "retires"])
def test_merging_keeps_everyone_and_its_derivative_is_itself(elder):
    """It is linear in the shares, so its tangent is its value; both ways of differentiating agree."""
    share, hazard = density("float64", 0.5)
    fired = firing(share, hazard, DT)
    newborn = jnp.sum(fired, axis=0)
    slots = jnp.asarray([0, 4, elder], jnp.int32)
    event = Event(*slots, deviation=jnp.zeros(()), distance=jnp.ones(()))

    def after(share, fired, newborn):
        return merge(share, fired, newborn, event)

    given = (share, fired, newborn)
    value, tangent = jax.jvp(after, given, given)
    np.testing.assert_allclose(jnp.sum(value, axis=0), jnp.sum(share, axis=0))
    np.testing.assert_allclose(tangent, value, rtol=1e-12)
    expected = np.array(share - fired)
    expected[elder] += expected[4]
    expected[4] = newborn
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    weights = jnp.asarray(np.random.default_rng(7).normal(size=share.shape))
    _, pull = jax.vjp(after, *given)
    inner = sum(jnp.vdot(x, ct) for x, ct in zip(given, pull(weights), strict=True))
    np.testing.assert_allclose(inner, jnp.vdot(weights, tangent), rtol=1e-12)
