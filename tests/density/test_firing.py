"""The firing of a refractory density: the same bits whatever is computed beside it, and cohorts that merge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ratelike._density._firing import AgeRatio, SeparableHazard, fired_mass
from ratelike._density._merge_schedule import Merge
from ratelike._density._merging import mass_after_step

pytestmark = pytest.mark.usefixtures("any_ranks")

AGES, NEURONS, DT = 21, 64, 1e-3


def density(dtype, largest: float):
    """Masses, and a separable hazard whose largest dt rho is `largest`."""
    mass, potential, age = (np.random.default_rng(seed) for seed in range(3))
    ratio = np.concatenate([np.zeros(3), age.uniform(size=AGES - 4), [1.0]])
    escape_rate = potential.uniform(size=NEURONS)
    escape_rate[0] = 1.0
    hazard = SeparableHazard(
        jnp.asarray(escape_rate * largest / DT, dtype),
        AgeRatio(jnp.asarray(ratio, dtype)),
    )
    return jnp.asarray(mass.dirichlet(np.ones(AGES), NEURONS).T, dtype), hazard


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)]
)
@pytest.mark.parametrize("largest", [0.9, 30.0])
def test_firing_is_what_expm1_says(dtype, tolerance, largest):
    mass, hazard = density(dtype, largest)
    fired = jax.jit(fired_mass, static_argnums=2)(mass, hazard, DT)
    x = np.asarray(hazard.age_ratio.at_lower, float)[:, None] * np.asarray(
        hazard.escape_rate
    )
    expected = np.asarray(mass, float) * -np.expm1(-DT * x.astype(float))
    np.testing.assert_allclose(fired, expected, rtol=tolerance)


def test_no_bit_depends_on_a_neighbour_that_fires_at_once():
    """One large hazard sends its whole chunk through the longer computation."""
    mass, hazard = density("float32", 0.9)
    loud = SeparableHazard(hazard.escape_rate.at[0].set(30.0 / DT), hazard.age_ratio)
    run = jax.jit(fired_mass, static_argnums=2)
    quietly, loudly = run(mass, hazard, DT), run(mass, loud, DT)
    assert np.all(np.asarray(quietly)[1:, 0] <= np.asarray(loudly)[1:, 0])
    np.testing.assert_array_equal(quietly[:, 1:], loudly[:, 1:])

    def batched(escape_rate):
        return fired_mass(mass, SeparableHazard(escape_rate, hazard.age_ratio), DT)

    both = jnp.stack([hazard.escape_rate, loud.escape_rate])
    np.testing.assert_array_equal(jax.jit(jax.vmap(batched))(both), [quietly, loudly])


@pytest.mark.parametrize("target", [5, AGES - 1], ids=["cohort", "last bin"])
def test_a_merge_keeps_all_mass_and_its_derivative_is_itself(target):
    """It is linear in the masses, so its tangent is its value; both ways of differentiating agree."""
    mass, hazard = density("float64", 0.5)
    fired = fired_mass(mass, hazard, DT)
    newborn = jnp.sum(fired, axis=0)
    slots = jnp.asarray([0, 4, target], jnp.int32)
    merge = Merge(*slots, deviation=jnp.zeros(()), distance=jnp.ones(()))

    def after(mass, fired, newborn):
        return mass_after_step(mass, fired, newborn, merge)

    given = (mass, fired, newborn)
    value, tangent = jax.jvp(after, given, given)
    np.testing.assert_allclose(jnp.sum(value, axis=0), jnp.sum(mass, axis=0))
    np.testing.assert_allclose(tangent, value, rtol=1e-12)
    expected = np.array(mass - fired)
    expected[target] += expected[4]
    expected[4] = newborn
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    weights = jnp.asarray(np.random.default_rng(7).normal(size=mass.shape))
    _, pull = jax.vjp(after, *given)
    inner = sum(jnp.vdot(x, ct) for x, ct in zip(given, pull(weights), strict=True))
    np.testing.assert_allclose(inner, jnp.vdot(weights, tangent), rtol=1e-12)
