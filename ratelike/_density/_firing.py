"""The probability mass that fires in a step, at each age."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ratelike._numerics._batch_cond import batch_cond
from ratelike._numerics._exponential import SMALL, one_minus_exp, one_minus_exp_of_small
from ratelike._numerics._products import matmul

Bins = Float[Array, "bins neurons"]
Row = Float[Array, " neurons"]


class Hazard(eqx.Module):
    """rho of each cohort in hertz: at the lower of its two nodes of age, and by how much more at the upper one."""

    at_lower: Float[Array, "bins neurons"]
    increase: Float[Array, "bins neurons"] | None = None  # None: cohorts have one age
    upper_fraction: Float[Array, "bins neurons"] | None = None  # of the mass


class AgeRatio(eqx.Module):
    """The factor of a separable hazard that depends on age, at the same two nodes."""

    at_lower: Float[Array, "*steps bins"]
    increase: Float[Array, "*steps bins"] | None
    largest: Float[Array, "*steps"]
    bound: Float[Array, "*steps"] | None  # 1 / largest absolute increase

    def __init__(
        self,
        at_lower: Float[Array, "*steps bins"],
        increase: Float[Array, "*steps bins"] | None = None,
    ) -> None:
        self.at_lower, self.increase = at_lower, increase
        if increase is None:
            self.largest, self.bound = jnp.max(at_lower, axis=-1), None
        else:
            self.largest = jnp.max(jnp.maximum(at_lower, at_lower + increase), axis=-1)
            steepest = jnp.max(jnp.abs(increase), axis=-1)
            self.bound = 1.0 / jnp.maximum(steepest, jnp.finfo(steepest.dtype).tiny)


class SeparableHazard(eqx.Module):
    """rho(h, a) = f(h) ratio(a), in hertz: one exponential for each neuron and one for each age, none for each pair."""

    escape_rate: Float[Array, " neurons"]  # f(h)
    age_ratio: AgeRatio
    upper_fraction: Float[Array, "bins neurons"] | None = None


def exponent_increase(hazard: Hazard | SeparableHazard, dt: float) -> Bins:
    """dt times rho at the upper node less rho at the lower one, bounded by -1 and 1."""
    if isinstance(hazard, SeparableHazard):
        ratio, bound = hazard.age_ratio.increase, hazard.age_ratio.bound
        assert ratio is not None
        assert bound is not None
        return _outer(jnp.minimum(dt * hazard.escape_rate, bound), ratio)
    assert hazard.increase is not None
    return jnp.clip(dt * hazard.increase, -1.0, 1.0)


def fired_mass(mass: Bins, hazard: Hazard | SeparableHazard, dt: float) -> Bins:
    """P (1 - exp(-dt rho)), computed once and kept: for the sum, and for the survivors."""
    if isinstance(hazard, SeparableHazard):
        exponent = dt * hazard.escape_rate
        return separable_fired_mass(
            mass, exponent, hazard.age_ratio, hazard.upper_fraction
        )
    rho = hazard.at_lower
    if hazard.upper_fraction is not None and hazard.increase is not None:
        rho = rho + hazard.upper_fraction * hazard.increase
    return jax.lax.optimization_barrier(mass * one_minus_exp(dt * rho))


def sum_over_ages(bins: Bins) -> Row:
    """As a product: XLA's own sum takes four times as long, and in a batch rounds in another order."""
    return matmul(jnp.ones((1, len(bins)), bins.dtype), bins)[0]


@jax.custom_jvp
def separable_fired_mass(
    mass: Bins, exponent: Row, age_ratio: AgeRatio, upper_fraction: Bins | None
) -> Bins:
    """P (1 - exp(-x)), x being the outer product of `exponent`, dt f(h), and `age_ratio`."""
    return _fired_mass_or_probability(mass, exponent, age_ratio, upper_fraction)


@separable_fired_mass.defjvp
def _(
    primals: tuple[Bins, Row, AgeRatio, Bins | None],
    tangents: tuple[Bins, Row, AgeRatio, Bins | None],
) -> tuple[Bins, Bins]:
    mass, exponent, age_ratio, fraction = primals
    dmass, dexponent, dage_ratio, _ = tangents
    probability = _fired_mass_or_probability(None, exponent, age_ratio, fraction)
    survivors = mass - mass * probability
    # As matrix products, which are what the derivatives by either factor then are, too.
    dx = matmul(age_ratio.at_lower[:, None], dexponent[None])
    dx += matmul(dage_ratio.at_lower[:, None], exponent[None])
    if fraction is not None:
        point, direction = primals[1:], tangents[1:]
        dx += jax.jvp(_excess_of_upper_node, point, direction)[1]
    return separable_fired_mass(*primals), dmass * probability + survivors * dx


def _fired_mass_or_probability(
    mass: Bins | None, exponent: Row, age_ratio: AgeRatio, upper_fraction: Bins | None
) -> Bins:
    """The probability to fire, without a `mass`; without doublings where a polynomial alone serves all neurons."""

    # Both ways give the same bits, so that a result does not depend on the neurons that are computed beside it.
    def by(function: Callable[[Bins], Bins]) -> Callable[..., Bins]:
        def fired_mass(
            mass: Bins | None, exponent: Row, ratio: AgeRatio, fraction: Bins | None
        ) -> Bins:
            x = _outer(exponent, ratio.at_lower)
            if fraction is not None:
                x = x + _excess_of_upper_node(exponent, ratio, fraction)
            probability = function(x)
            return probability if mass is None else mass * probability

        return fired_mass

    def is_small(
        mass: Bins | None, exponent: Row, ratio: AgeRatio, fraction: Bins | None
    ) -> Bool[Array, ""]:
        return _largest(exponent) * ratio.largest <= SMALL

    choose = batch_cond(is_small, by(one_minus_exp_of_small), by(one_minus_exp))
    return choose(mass, exponent, age_ratio, upper_fraction)


def _largest(row: Row) -> Float[Array, ""]:
    """The maximum, by halves: XLA's own takes as long as a third of a polynomial for each of a graded mesh's bins."""
    half, odd = divmod(len(row), 2)
    if odd:
        return jnp.max(row)
    return _largest(jnp.maximum(row[:half], row[half:]))


def _excess_of_upper_node(
    exponent: Row, age_ratio: AgeRatio, upper_fraction: Bins
) -> Bins:
    """By how much the mass at the upper node raises the exponents of a cohort."""
    assert age_ratio.increase is not None
    return _outer(exponent, age_ratio.increase) * upper_fraction


def _outer(row: Row, column: Float[Array, " bins"]) -> Bins:
    return row[..., None, :] * column[..., :, None]
