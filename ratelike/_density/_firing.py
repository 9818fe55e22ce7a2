"""Who fires in a step, of each age."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._numerics._batch_cond import one_way_for_all
from ratelike._numerics._exponential import SMALL, one_minus_exp, one_minus_exp_of_small
from ratelike._numerics._products import matmul


class Hazard(eqx.Module):
    """rho of each cohort in hertz: at the younger of its members' two ages, and by how much more at the elder one."""

    younger: Float[Array, "bins neurons"]
    increase: Float[Array, "bins neurons"] | None = None  # None: they have one age
    elder: Float[Array, "bins neurons"] | None = None  # part of the members


class AgeRatio(eqx.Module):
    """The part of a separable hazard that depends on age, at the same two ages."""

    younger: Float[Array, "*steps bins"]
    increase: Float[Array, "*steps bins"] | None
    largest: Float[Array, "*steps"]
    bound: Float[Array, "*steps"] | None  # 1 / largest absolute increase

    def __init__(self, younger: Array, increase: Array | None = None):
        self.younger, self.increase = younger, increase
        if increase is None:
            self.largest, self.bound = jnp.max(younger, axis=-1), None
        else:
            self.largest = jnp.max(jnp.maximum(younger, younger + increase), axis=-1)
            steepest = jnp.max(jnp.abs(increase), axis=-1)
            self.bound = 1.0 / jnp.maximum(steepest, jnp.finfo(steepest.dtype).tiny)


class SeparableHazard(eqx.Module):
    """rho(h, a) = f(h) ratio(a), in hertz: one exponential for each neuron and one for each age, none for each pair."""

    of_potential: Float[Array, " neurons"]
    of_age: AgeRatio
    elder: Float[Array, "bins neurons"] | None = None


def increase(
    hazard: Hazard | SeparableHazard, dt: float
) -> Float[Array, "bins neurons"]:
    """dt times rho at the elder age less rho at the younger one, bounded by -1 and 1."""
    if isinstance(hazard, SeparableHazard):
        of_age, bound = hazard.of_age.increase, hazard.of_age.bound
        assert of_age is not None
        assert bound is not None
        return _outer(jnp.minimum(dt * hazard.of_potential, bound), of_age)
    assert hazard.increase is not None
    return jnp.clip(dt * hazard.increase, -1.0, 1.0)


def firing(
    share: Float[Array, "bins neurons"], hazard: Hazard | SeparableHazard, dt: float
) -> Float[Array, "bins neurons"]:
    """P (1 - exp(-dt rho)), computed once and kept: for the sum, and for the survivors."""
    if isinstance(hazard, SeparableHazard):
        of_neuron = dt * hazard.of_potential
        return separable_firing(share, of_neuron, hazard.of_age, hazard.elder)
    rho = hazard.younger
    if hazard.elder is not None and hazard.increase is not None:
        rho = rho + hazard.elder * hazard.increase
    return jax.lax.optimization_barrier(share * one_minus_exp(dt * rho))


def of_all_ages(bins: Float[Array, "bins neurons"]) -> Float[Array, " neurons"]:
    """The sum. As a product: XLA's own takes four times as long, and in a batch rounds in another order."""
    return matmul(jnp.ones((1, len(bins)), bins.dtype), bins)[0]


@jax.custom_jvp
def separable_firing(
    share: Float[Array, "bins neurons"],
    of_neuron: Float[Array, " neurons"],
    of_age: AgeRatio,
    elder: Float[Array, "bins neurons"] | None,
) -> Float[Array, "bins neurons"]:
    return _in_one_of_two_ways(share, of_neuron, of_age, elder)


@separable_firing.defjvp
def _(primals, tangents):
    (share, *point), (dshare, *direction) = primals, tangents
    (of_neuron, of_age, elder), (dof_neuron, dof_age, _) = point, direction
    probability = _in_one_of_two_ways(None, *point)
    survivors = share - share * probability
    # As matrix products, which are what the derivatives by either factor then are, too.
    dx = matmul(of_age.younger[:, None], dof_neuron[None])
    dx += matmul(dof_age.younger[:, None], of_neuron[None])
    if elder is not None:
        dx += jax.jvp(_of_elders, tuple(point), tuple(direction))[1]
    return separable_firing(*primals), dshare * probability + survivors * dx


def _in_one_of_two_ways(share, of_neuron, of_age, elder):
    """By the polynomial alone, without doublings, where that serves all neurons: nearly always.

    Both ways give the same bits, so that a result does not depend on who else is computed beside it. Without a `share`
    the probability.
    """

    def times(probability, share):
        return probability if share is None else share * probability

    def exponent(of_neuron, of_age, elder):
        x = _outer(of_neuron, of_age.younger)
        return x if elder is None else x + _of_elders(of_neuron, of_age, elder)

    def is_small(share, of_neuron, of_age, elder):
        return _largest(of_neuron) * of_age.largest <= SMALL

    choose = one_way_for_all(
        is_small,
        lambda share, *point: times(one_minus_exp_of_small(exponent(*point)), share),
        lambda share, *point: times(one_minus_exp(exponent(*point)), share),
    )
    return choose(share, of_neuron, of_age, elder)


def _largest(of_neuron: Float[Array, " neurons"]) -> Float[Array, ""]:
    """The maximum, by halves: XLA's own takes as long as a third of a polynomial for each of a graded mesh's bins."""
    half, odd = divmod(len(of_neuron), 2)
    if odd:
        return jnp.max(of_neuron)
    return _largest(jnp.maximum(of_neuron[:half], of_neuron[half:]))


def _of_elders(of_neuron, of_age: AgeRatio, elder):
    return _outer(of_neuron, of_age.increase) * elder


def _outer(of_neuron, of_age):
    return of_neuron[..., None, :] * of_age[..., :, None]
