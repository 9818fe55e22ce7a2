r"""The adjoint of the density on a graded mesh, from the end of a block of steps to its beginning.

The block is solved once more, and the masses P_k and upper fractions e_k between its steps are kept. In a step with the
exponents y_k = x (rho_k + delta_k e_k), x = dt f(hs), the rate is r = sum_k (1 - exp(-y_k)) P_k, and the survivors
S_k = exp(-y_k) P_k have the upper fractions e_k - e_k (1 - e_k) z_k, z_k = delta_k min(x, bound). With a = dL/dr in a
loss L, and g_k the derivative of L by the fractions of the survivors,

    dL/dP_k = a - kappa_k,   dL/dy_k = P_k kappa_k = S_k (a - dL/dS_k),   dL/de_k = g_k (1 - (1 - 2 e_k) z_k) + x delta_k dL/dy_k.

The survivors of a cohort that does not merge are its mass in the next step, where the same holds, so that no exponential
is left:

    dL/dy_k(t) = dL/dy_k(t+1) + (a(t) - a(t+1)) P_k(t+1).

A merger hands its own derivative on to both of its cohorts, and the cohort that refills the source hands it on to the
rate of the step of its birth.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._density_block import BlockDerivatives, Cohorts, DensityBlock
from ratelike._density._firing import (
    AgeRatio,
    sum_over_ages,
)
from ratelike._density._kept_states import Kept, Pair, apart, in_ring, solved_again
from ratelike._density._merge_schedule import Merge
from ratelike._density._merging import quotient, with_row, write
from ratelike._density._upper_fraction import (
    fraction_after_merge,
)
from ratelike._numerics._products import matmul

Bins = Float[Array, "bins neurons"]
Row = Float[Array, " neurons"]


class _Step(NamedTuple):
    """What the step back takes; for a block, a row for each step."""

    number: Integer[Array, "*steps"]
    exponent: Float[Array, "*steps neurons"]
    ratio: AgeRatio
    merge: Merge
    masses: Pair  # of the survivors that merge
    # By what of its derivative the merged fraction changes with the masses and the fractions that merge.
    by_masses: Pair
    by_fractions: Pair
    activity_bar: Float[Array, "*steps neurons"]


class _Carry(NamedTuple):
    """What the step back hands on to the one before."""

    y_bar: Bins
    fraction_bar: Bins
    a: Row
    entering_bar: Float[Array, "ring neurons"]  # of the steps since the dead time began


def block_derivatives(block: DensityBlock, by_ages: bool) -> BlockDerivatives:
    """Without the derivative by the factor of age, which takes three more products in each step, unless `by_ages`."""
    after, dead = block.after_bar, block.schedule.dead
    assert after.upper_fraction is not None
    total = sum_over_ages(block.before.mass) + jnp.sum(block.before.waiting, axis=0)
    mass, waiting = block.before.mass / total, block.before.waiting / total
    one = 1.0 + 0.0 * total
    merges = block.schedule.merge(block.steps + 1, total.dtype)
    kept, activity, masses, fractions = solved_again(block, mass, waiting, merges, one)
    steps = _Step(
        jnp.arange(len(block.steps), dtype=jnp.int32),
        block.exponent,
        block.age_ratio,
        merges,
        masses,
        *_by_members(masses, fractions, merges),
        block.activity_bar,
    )

    def one_step(carry: _Carry, step: _Step) -> tuple[_Carry, tuple]:
        return _step_back(kept, dead, by_ages, one, carry, step)

    births = block.steps[-1] + 1 - dead + jnp.arange(dead, dtype=jnp.int32)
    # What all masses have in common has no effect: their sum is one.
    y_bar, zeros = -after.mass * kept.mass[-1], jnp.zeros_like(total)
    entering_bar = in_ring(after.waiting, births, dead)
    start = _Carry(y_bar, after.upper_fraction, zeros, entering_bar)
    end, (exponent_bar, ratio_bar) = jax.lax.scan(one_step, start, steps, reverse=True)
    births = births - len(block.steps)
    rows = end.entering_bar[(births + dead) % (dead + 1)] - end.a
    before_bar = Cohorts(
        mass=-quotient(end.y_bar, mass),
        upper_fraction=end.fraction_bar,
        waiting=jnp.zeros_like(waiting).at[births % max(dead, 1)].set(rows),
    )
    age_bar = jax.tree.map(jnp.zeros_like, block.age_ratio)
    if by_ages:
        age_bar = eqx.tree_at(_differentiable, age_bar, ratio_bar)
    return BlockDerivatives(activity, exponent_bar, age_bar, before_bar)


def _differentiable(ratio: AgeRatio) -> Any:  # placeholders in `tree_at`
    return [ratio.at_lower, ratio.increase, ratio.bound]


def _step_back(
    kept: Kept, dead: int, by_ages: bool, one: Row, carry: _Carry, step: _Step
) -> tuple[_Carry, tuple[Row, list[Array] | None]]:
    """One step of the adjoint; its derivatives by the exponents, and by the factor of age."""
    y_bar, fraction_bar, a_later, entering_bar = carry
    x, ratio, merge = step.exponent, step.ratio, step.merge
    assert ratio.increase is not None
    assert ratio.bound is not None
    mass, fraction = kept.mass[step.number + 1], kept.fraction[step.number]
    source, target = merge.source, merge.target
    new = a_later - quotient(y_bar[source], mass[source])
    entering_bar = with_row(entering_bar, merge.step % (dead + 1), new[None])
    a = step.activity_bar + entering_bar[(merge.step + dead) % (dead + 1)]
    kappa = a - a_later + quotient(y_bar[target], mass[target])
    a, kappa, merged_bar = apart([a, kappa, fraction_bar[target]], one)
    members = zip(step.masses, step.by_masses, strict=True)
    rows = [mass * (kappa - merged_bar * by) for mass, by in members]
    innovation, *rows = apart([a - a_later, *rows], one)
    y_bar = write(y_bar + innovation * mass, merge, rows[1], rows[0])
    rows = [merged_bar * by for by in step.by_fractions]
    of_source, of_target = apart(rows, one)
    g = write(fraction_bar, merge, of_target, of_source)
    lower, increase = ratio.at_lower[:, None], ratio.increase[:, None]
    z_bar = -g * (fraction * (1.0 - fraction))
    within = jnp.where(x < ratio.bound, 1.0, 0.0)
    x_bar = sum_over_ages(
        y_bar * (lower + increase * fraction) + z_bar * (increase * within)
    )
    bounded = jnp.minimum(x, ratio.bound)
    ratio_bar = None
    if by_ages:
        of_bound = matmul(ratio.increase[None], z_bar)[0] * (1.0 - within)
        ratio_bar = [
            matmul(y_bar, x[:, None])[:, 0],
            (matmul(y_bar * fraction, x[:, None]) + matmul(z_bar, bounded[:, None]))[
                :, 0
            ],
            jnp.sum(of_bound),
        ]
    # After the sum: then XLA knows that nothing reads the old derivatives any more, and need not copy them.
    of_source, of_target = apart(rows, 1.0 + 0.0 * x_bar)
    g = write(fraction_bar, merge, of_target, of_source)
    fraction_bar = g * (1.0 - (1.0 - 2.0 * fraction) * (bounded * increase))
    fraction_bar = fraction_bar + y_bar * (x * increase)
    return _Carry(y_bar, fraction_bar, a, entering_bar), (x_bar, ratio_bar)


def _by_members(masses: Pair, fractions: Pair, merges: Merge) -> tuple[Pair, Pair]:
    """By what of its own derivative a merged fraction changes with the masses and the fractions that merge."""

    def of_step(masses: Pair, fractions: Pair, merge: Merge) -> tuple[Pair, Pair]:
        merged, vjp = jax.vjp(
            lambda masses, fractions: fraction_after_merge(fractions, masses, merge),
            masses,
            fractions,
        )
        return vjp(jnp.ones_like(merged))

    return jax.vmap(of_step)(masses, fractions, merges)
