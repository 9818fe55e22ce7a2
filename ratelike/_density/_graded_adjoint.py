r"""The adjoint of the density on a graded mesh, from the end of a block of steps to its beginning.

The block is solved once more, and the masses P_k and upper fractions e_k before each of its steps are kept. In a step
of the exponents y_k = x (rho_k + delta_k e_k), x = dt f(h) being the same for all ages, the rate is
r = sum_k (1 - exp(-y_k)) P_k, and the survivors exp(-y_k) P_k have the fractions e_k - e_k (1 - e_k) z_k, z_k = x delta_k
(within bounds). With a = dL/dr in a loss L, s_k = dL/d(survivors), kappa_k = exp(-y_k) (a - s_k) and g_k = dL/d(their
fractions),

    dL/dP_k = a - kappa_k,   dL/dy_k = P_k kappa_k,   dL/de_k = g_k (1 - (1 - 2 e_k) z_k) + x delta_k dL/dy_k.

A merger hands to both of its cohorts what it has gathered; the cohort that refills the source had been the rate, some
steps before if there is a dead time.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._density_block import BlockDerivatives, Cohorts, DensityBlock
from ratelike._density._firing import (
    SeparableHazard,
    exponent_increase,
    fired_mass,
    sum_over_ages,
)
from ratelike._density._merging import survivors, with_row, write
from ratelike._density._upper_fraction import (
    fraction_after_merge,
    fraction_of_survivors,
)

Row = Float[Array, " neurons"]


def block_derivatives(block: DensityBlock, by_ages: bool) -> BlockDerivatives:
    start, after = _normalised(block.before), block.after_bar
    merges = block.schedule.merge(block.steps + 1, start.mass.dtype)
    one = 1.0 + 0.0 * start.mass[0]
    activity, (masses, fractions), members = _states(block, start, merges, one)
    by_members = _by_members(members, merges)
    dead = block.schedule.dead

    def one_step(carry, inputs):
        y_bar, fraction_bar, above, entered_bar = carry
        index, x, ratio, merge, members, (by_masses, by_fractions), mu = inputs
        mass, fraction = masses[index + 1], fractions[index]
        source, target = merge.source, merge.target
        entering_bar = above - _quotient(y_bar[source], mass[source])
        entered_bar = with_row(entered_bar, merge.step % (dead + 1), entering_bar[None])
        a = mu + entered_bar[(merge.step + dead) % (dead + 1)]
        kappa = a - above + _quotient(y_bar[target], mass[target])
        a, kappa, joined_bar = apart([a, kappa, fraction_bar[target]], one)
        rows = [m * (kappa - joined_bar * by) for m, by in zip(members[0], by_masses, strict=True)]
        innovation, *rows = apart([a - above, *rows], one)
        y_bar = write(y_bar + innovation * mass, merge, rows[1], rows[0])
        rows = apart([joined_bar * by for by in by_fractions], one)
        g = write(fraction_bar, merge, rows[1], rows[0])
        lower, increase = ratio.at_lower[:, None], ratio.increase[:, None]
        within = jnp.where(x < ratio.bound, 1.0, 0.0)
        z_bar = -g * (fraction * (1.0 - fraction))
        x_bar = sum_over_ages(
            y_bar * (lower + fraction * increase) + z_bar * (within * increase)
        )
        rows = apart([joined_bar * by for by in by_fractions], 1.0 + 0.0 * x_bar)
        g = write(fraction_bar, merge, rows[1], rows[0])
        bounded = jnp.minimum(x, ratio.bound)
        fraction_bar = g * (
            1.0 - (1.0 - 2.0 * fraction) * (bounded * increase)
        ) + y_bar * (x * increase)
        return (y_bar, fraction_bar, a, entered_bar), x_bar

    births = block.steps[-1] + 1 - dead + jnp.arange(dead, dtype=jnp.int32)
    entered = jnp.zeros((dead + 1, *start.mass.shape[1:]), start.mass.dtype)
    entered = entered.at[(births + dead) % (dead + 1)].set(
        after.waiting[births % max(dead, 1)]
    )
    carry = (
        -after.mass * masses[-1],
        after.upper_fraction,
        jnp.zeros_like(start.mass[0]),
        entered,
    )
    inputs = (
        jnp.arange(len(block.steps), dtype=jnp.int32),
        block.exponent,
        block.age_ratio,
        merges,
        members,
        by_members,
        block.activity_bar,
    )
    (y_bar, fraction_bar, above, entered), x_bar = jax.lax.scan(
        one_step, carry, inputs, reverse=True
    )
    births = births - len(block.steps)
    waiting = (
        jnp.zeros_like(after.waiting)
        .at[births % max(dead, 1)]
        .set(entered[(births + dead) % (dead + 1)] - above)
    )
    before_bar = Cohorts(-_quotient(y_bar, start.mass), fraction_bar, waiting)
    ratio_bar = jax.tree.map(jnp.zeros_like, block.age_ratio)
    return BlockDerivatives(activity, x_bar, ratio_bar, before_bar)


def _quotient(y_bar, mass):
    """kappa; where there is no mass nothing depends on it."""
    exists = mass > 0.0
    return jnp.where(exists, y_bar / jnp.where(exists, mass, 1.0), 0.0)


def apart(rows, one):
    """Rows that XLA computes once, before the loops over bins that use them: it does so where they are quotients."""
    return [row / one for row in rows]


def _normalised(before: Cohorts) -> Cohorts:
    total = sum_over_ages(before.mass)
    if len(before.waiting):
        total = total + sum_over_ages(before.waiting)
    return Cohorts(before.mass / total, before.upper_fraction, before.waiting / total)


def _states(block, start, merges, one):
    """The activity, the masses and upper fractions before each step, and those of the survivors that merge at its end."""
    dead, slots = (
        block.schedule.dead,
        jnp.arange(block.schedule.num_bins, dtype=jnp.int32)[:, None],
    )

    def one_step(carry, inputs):
        mass, fraction, born, states = carry
        index, x, ratio, merge = inputs
        hazard = SeparableHazard(x, ratio, fraction)
        fired = fired_mass(mass, hazard, 1.0)
        activity = sum_over_ages(fired)
        born = with_row(born, merge.step % (dead + 1), activity[None])
        entering = born[(merge.step + 1) % (dead + 1)]
        states = [
            jax.lax.dynamic_update_index_in_dim(x, y, index, 0)
            for x, y in zip(states, (mass, fraction), strict=True)
        ]
        # What merges is read where it has just been kept: XLA then knows that nothing reads the bins after they change.
        kept_mass, kept_fraction = states
        bounded = jnp.minimum(x, ratio.bound)
        pair = merge.source, merge.target
        members = apart(
            [survivors(kept_mass[index, slot], fired[slot]) for slot in pair], one
        )
        fractions = [
            fraction_of_survivors(
                kept_fraction[index, slot], bounded * ratio.increase[slot]
            )
            for slot in pair
        ]
        fractions = apart(fractions, one)
        joined = fraction_after_merge(fractions, members, merge)
        merged, joined = apart([members[0] + members[1], joined], one)
        mass = write(survivors(mass, fired), merge, merged, entering)
        fraction = fraction_of_survivors(fraction, exponent_increase(hazard, 1.0))
        fraction = jnp.where(slots == merge.target, joined, fraction)
        return (mass, fraction, born, states), (activity, (members, fractions))

    num_steps = len(block.steps)
    births = block.steps[0] - dead + jnp.arange(dead, dtype=jnp.int32)
    born = jnp.zeros((dead + 1, *start.mass.shape[1:]), start.mass.dtype)
    born = born.at[births % (dead + 1)].set(start.waiting[births % max(dead, 1)])

    def buffer(x):
        return jax.lax.empty((num_steps + 1, *x.shape), x.dtype)

    first = start.mass, start.upper_fraction
    carry = (*first, born, list(map(buffer, first)))
    inputs = (
        jnp.arange(num_steps, dtype=jnp.int32),
        block.exponent,
        block.age_ratio,
        merges,
    )
    (mass, _, _, states), (activity, members) = jax.lax.scan(one_step, carry, inputs)
    masses = jax.lax.dynamic_update_index_in_dim(states[0], mass, num_steps, 0)
    return activity, (masses, states[1]), members


def _by_members(members, merges):
    """By what of its own derivative a merged cohort's fraction changes with the masses and the fractions of its members."""
    merges = jax.tree.map(lambda x: x[:, None], merges)
    value, vjp = jax.vjp(lambda m, f: fraction_after_merge(f, m, merges), *members)
    return vjp(jnp.ones_like(value))
