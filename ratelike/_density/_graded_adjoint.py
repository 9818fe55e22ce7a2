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

from ratelike._density._density_block import BlockDerivatives, Cohorts, DensityBlock
from ratelike._density._firing import (
    SeparableHazard,
    exponent_increase,
    fired_mass,
    sum_over_ages,
)
from ratelike._density._merging import materialise, survivors, with_row, write
from ratelike._density._refractory_queue import RefractoryQueue
from ratelike._density._upper_fraction import (
    fraction_after_merge,
    fraction_of_survivors,
    mass_and_fraction_after_step,
)


def block_derivatives(block: DensityBlock, by_ages: bool) -> BlockDerivatives:
    start, normalised_vjp = jax.vjp(_normalised, block.before)
    merges = block.schedule.merge(block.steps + 1, start.mass.dtype)
    one = 1.0 + 0.0 * start.mass[0, 0]
    activity, states, merging = _states(block, start, merges, one)
    hand_back = _hand_back(merging, merges)
    slots = jnp.arange(block.schedule.num_bins, dtype=jnp.int32)[:, None]
    dead = block.schedule.dead

    def one_step(carry, inputs):
        kappa, fraction_bar, above, waiting_bar, leaving_bar = carry
        index, x, ratio, merge, hand_back, mu = inputs
        mass, fraction = (x[index] for x in states)
        members, fractions = hand_back
        source, target = slots == merge.source, slots == merge.target
        entering_bar = above - kappa[merge.source]
        merged_bar = above - kappa[merge.target]
        merged_fraction_bar = fraction_bar[merge.target]
        a = mu + (leaving_bar if dead else entering_bar)
        rows = [entering_bar, a, a - above]
        rows += [a - merged_bar - merged_fraction_bar * m for m in members]
        entering_bar, a, innovation, *joined = apart(rows, one)
        if dead:
            waiting_bar = with_row(waiting_bar, merge.step % dead, entering_bar[None])
            leaving_bar = waiting_bar[(merge.step - 1) % dead]
        kappa = jnp.where(
            source, joined[0], jnp.where(target, joined[1], kappa + innovation)
        )
        lower, increase = ratio.at_lower[:, None], ratio.increase[:, None]
        y_factor = lower + increase * fraction
        kappa = kappa * jnp.exp(-x * y_factor)
        y_bar = mass * kappa
        rows = [merged_fraction_bar * f for f in fractions]
        g = jnp.where(source, rows[0], jnp.where(target, rows[1], fraction_bar))
        z_bar = -g * fraction * (1.0 - fraction)
        within = (x < ratio.bound).astype(x.dtype)
        x_bar = sum_over_ages(y_bar * y_factor + within * z_bar * increase)
        x_bar, *rows = apart([x_bar, *rows], one)
        g = jnp.where(source, rows[0], jnp.where(target, rows[1], fraction_bar))
        bounded = jnp.minimum(x, ratio.bound)
        fraction_bar = g * (
            1.0 - (1.0 - 2.0 * fraction) * (bounded * increase)
        ) + y_bar * (x * increase)
        return (kappa, fraction_bar, a, waiting_bar, leaving_bar), (x_bar,)

    after = block.after_bar
    leaving = after.waiting[block.steps[-1] % dead] if dead else None
    carry = (
        -after.mass,
        after.upper_fraction,
        jnp.zeros_like(start.mass[0]),
        after.waiting,
        leaving,
    )
    inputs = (
        jnp.arange(len(block.steps)),
        block.exponent,
        block.age_ratio,
        merges,
        hand_back,
        block.activity_bar,
    )
    (kappa, fraction_bar, above, waiting_bar, _), (x_bar,) = jax.lax.scan(
        one_step, carry, inputs, reverse=True
    )
    start_bar = Cohorts(above - kappa, fraction_bar, waiting_bar)
    (before_bar,) = normalised_vjp(start_bar)
    ratio_bar = jax.tree.map(jnp.zeros_like, block.age_ratio)
    return BlockDerivatives(activity, x_bar, ratio_bar, before_bar)


def _normalised(before: Cohorts) -> Cohorts:
    total = sum_over_ages(before.mass)
    if len(before.waiting):
        total = total + sum_over_ages(before.waiting)
    return Cohorts(before.mass / total, before.upper_fraction, before.waiting / total)


def _states(block, start, merges, one):
    """The activity, and the masses and upper fractions before each step."""
    queue = None
    dead = block.schedule.dead
    if dead:
        first = start.waiting[block.steps[0] % dead]
        age = block.schedule.ages_in_queue(block.steps[0], first.dtype)
        queue = RefractoryQueue((start.waiting, None), age, (first, None))

    def one_step(carry, inputs):
        mass, fraction, queue, states = carry
        index, x, ratio, merge = inputs
        hazard = SeparableHazard(x, ratio, fraction)
        fired = fired_mass(mass, hazard, 1.0)
        activity = entering = sum_over_ages(fired)
        if queue is not None:
            queue, (entering, _) = queue.advance(
                merge.step, (activity, None), lambda mark: mark
            )
        states = [
            jax.lax.dynamic_update_index_in_dim(x, y, index, 0)
            for x, y in zip(states, (mass, fraction))
        ]
        kept_mass, kept_fraction = states
        increase = exponent_increase(hazard, 1.0)
        bounded = jnp.minimum(x, ratio.bound)
        pair = merge.source, merge.target
        members = [survivors(kept_mass[index, slot], fired[slot]) for slot in pair]
        fractions = [
            fraction_of_survivors(kept_fraction[index, slot], bounded * ratio.increase[slot])
            for slot in pair
        ]
        members, fractions = apart(members, one), apart(fractions, one)
        joined = fraction_after_merge(fractions, members, merge)
        merged, joined = apart([members[0] + members[1], joined], one)
        mass = write(survivors(mass, fired), merge, merged, entering)
        fraction = fraction_of_survivors(fraction, increase)
        fraction = jnp.where(slots == merge.target, joined, fraction)
        return (mass, fraction, queue, states), (activity, (members, fractions))

    num_steps = len(block.steps)
    slots = jnp.arange(len(start.mass), dtype=jnp.int32)[:, None]

    def buffer(x):
        return jnp.zeros((num_steps, *x.shape), x.dtype)

    first = start.mass, start.upper_fraction
    carry = (*first, queue, list(map(buffer, first)))
    inputs = jnp.arange(num_steps), block.exponent, block.age_ratio, merges
    (*_, states), (activity, merging) = jax.lax.scan(one_step, carry, inputs)
    return activity, states, merging


def apart(rows, one):
    return [row / one for row in rows]


def _hand_back(merging, merges):
    """By what of its own derivative a merged cohort's fraction changes with the masses and the fractions of its members."""
    merges = jax.tree.map(lambda x: x[:, None], merges)
    value, vjp = jax.vjp(lambda m, f: fraction_after_merge(f, m, merges), *merging)
    return vjp(jnp.ones_like(value))
