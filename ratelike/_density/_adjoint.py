r"""The adjoint of the renewal equation, from the end of a block of steps to its beginning.

With the exponents x_k(t) = dt rho_k(t) of all ages k, the rate r(t) = sum_k (1 - exp(-x_k(t))) P_k(t) and its part
mu(t) = dL/dr(t) in a loss L, let kappa_k(t) be by how much more L grows with a neuron that fires in the step t than with
one of age k. Then

    kappa_k(t) = exp(-x_k(t)) (kappa_{k+1}(t+1) + nu(t)),   nu(t) = mu(t) - kappa_0(t+1),   dL/dx_k(t) = P_k(t) kappa_k(t).

The masses P run backwards along the characteristics, P_k(t) = exp(x_k(t)) P_{k+1}(t+1), so that they need neither be
kept nor computed again, and of the derivatives no exponential is left:

    dL/dx_k(t) = dL/dx_{k+1}(t+1) + nu(t) P_{k+1}(t+1).

nu is the *innovation* of a step: what the adjoint of all ages takes up in it. Where running backwards would magnify
rounding errors, the block is solved once more instead.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from ratelike._density._density_block import BlockDerivatives, Cohorts, DensityBlock
from ratelike._density._firing import AgeRatio, separable_fired_mass, sum_over_ages
from ratelike._density._merge_schedule import Merge
from ratelike._density._merging import mass_after_step, materialise, quotient
from ratelike._numerics._batch_cond import batch_cond
from ratelike._numerics._exponential import exp_up_to_4
from ratelike._numerics._products import matmul
from ratelike._signal._membrane import UNROLL

# Within these, survivors are known to 3 10^-6 in float32, and none of their masses underflows.
LARGEST_EXPONENT_OF_A_STEP = 4.0
LARGEST_EXPONENT_OF_A_BLOCK = 60.0

Bins = Float[Array, "bins neurons"]
Steps = Float[Array, "block neurons"]
AgeFactor = Float[Array, "block bins"]


# The activity, and the derivatives of L by `exponent`, by the factor of age and by the masses before.
Derivatives = tuple[Steps, tuple[Steps, AgeFactor, Bins]]


def block_derivatives(block: DensityBlock) -> BlockDerivatives:
    """By the adjoint equation wherever that is accurate."""
    choose = batch_cond(_is_well_conditioned, _by_adjoint_equation, _by_solving_again)
    activity, (exponent_bar, at_lower_bar, mass_bar) = choose(block)
    ratio_bar = jax.tree.map(jnp.zeros_like, block.age_ratio)
    return BlockDerivatives(
        activity,
        exponent_bar,
        eqx.tree_at(lambda ratio: ratio.at_lower, ratio_bar, at_lower_bar),
        Cohorts(mass_bar, None, jnp.zeros_like(block.before.waiting)),
    )


def _is_well_conditioned(block: DensityBlock) -> Bool[Array, ""]:
    ratio = jnp.max(block.age_ratio.at_lower)
    largest_sum = jnp.max(jnp.sum(block.exponent, axis=0))
    return (jnp.max(block.exponent) * ratio <= LARGEST_EXPONENT_OF_A_STEP) & (
        largest_sum * ratio <= LARGEST_EXPONENT_OF_A_BLOCK
    )


def _by_adjoint_equation(block: DensityBlock) -> Derivatives:
    """In it dL/dP_k is -kappa_k but for what all ages have in common, which has no effect."""
    start = block.before.mass / sum_over_ages(block.before.mass)
    newborn_slots = block.schedule.merge(block.steps + 1, start.dtype).source
    joining, staying = _in_last_bin(block, start, newborn_slots)
    slots = jnp.arange(len(start), dtype=jnp.int32)[:, None]

    def one_step(carry: tuple, inputs: tuple) -> tuple[tuple, tuple]:
        x_bar, mass, kappa_of_last = carry
        neuron_factor, age_factor, newborn_slot, mu, joining, staying = inputs
        # Before the step the slot of the newborn cohort held the eldest one, which has joined the last bin.
        activity = mass[newborn_slot]
        innovation = mu - quotient(x_bar[newborn_slot], activity)
        kappa_of_last = kappa_of_last + innovation
        rows = [activity, innovation, joining, staying]
        rows += [joining * kappa_of_last, staying * kappa_of_last]
        rows = materialise(jnp.stack(rows))
        activity, innovation, joining, staying, x_bar_joining, x_bar_staying = rows
        x_bar = x_bar + innovation * mass
        x_bar = jnp.where(slots == len(slots) - 1, x_bar_staying, x_bar)
        x_bar = jnp.where(slots == newborn_slot, x_bar_joining, x_bar)
        mass = jnp.where(slots == len(slots) - 1, staying, mass)
        mass = jnp.where(slots == newborn_slot, joining, mass)
        mass = mass * exp_up_to_4(neuron_factor * age_factor[:, None])
        kappa_of_last = kappa_of_last * jnp.exp(-neuron_factor * age_factor[-1])
        neuron_factor_bar = matmul(age_factor[None], x_bar)[0]
        age_factor_bar = matmul(x_bar, neuron_factor[:, None])[:, 0]
        outputs = activity, neuron_factor_bar, age_factor_bar
        return (x_bar, mass, kappa_of_last), outputs

    factors = block.exponent, block.age_ratio.at_lower
    inputs = (*factors, newborn_slots, block.activity_bar, joining, staying)
    kappa = -block.after_bar.mass
    (x_bar, mass, _), (activity, *bars) = jax.lax.scan(
        one_step,
        (block.after.mass * kappa, block.after.mass, kappa[-1]),
        inputs,
        reverse=True,
    )
    return activity, (bars[0], bars[1], -quotient(x_bar, mass))


def _in_last_bin(
    block: DensityBlock, start: Bins, newborn_slots: Integer[Array, " block"]
) -> tuple[Steps, Steps]:
    """The mass that joins the last bin in each step, and the mass that survives the step in it."""
    # The exponents of the cohort in a slot add up from the beginning of the block to its last step.
    until_then = jnp.tril(block.age_ratio.at_lower[:, newborn_slots].T)
    joining = start[newborn_slots] * jnp.exp(-matmul(until_then, block.exponent))

    def one_step(last: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        x, joining = inputs
        staying = last * jnp.exp(-x)
        return staying + joining, staying

    x = block.exponent * block.age_ratio.at_lower[:, -1:]
    _, staying = jax.lax.scan(one_step, start[-1], (x, joining), unroll=UNROLL)
    return joining, staying


def _by_solving_again(block: DensityBlock) -> Derivatives:
    """Solves the block, and differentiates the solution."""

    def solve(
        neuron_factor: Steps, age_factor: AgeFactor, before: Bins
    ) -> tuple[Bins, Steps]:
        def one_step(
            mass: Bins, inputs: tuple[Array, Array, Merge]
        ) -> tuple[Bins, Array]:
            neuron_factor, age_factor, merge = inputs
            ratio = AgeRatio(age_factor)
            fired = separable_fired_mass(mass, neuron_factor, ratio, None)
            activity = sum_over_ages(fired)
            return mass_after_step(mass, fired, activity, merge), activity

        merges = block.schedule.merge(block.steps + 1, before.dtype)
        return jax.lax.scan(
            jax.checkpoint(one_step, prevent_cse=False),
            before / sum_over_ages(before),
            (neuron_factor, age_factor, merges),
        )

    (_, activity), vjp = jax.vjp(
        solve, block.exponent, block.age_ratio.at_lower, block.before.mass
    )
    return activity, vjp((block.after_bar.mass, block.activity_bar))
