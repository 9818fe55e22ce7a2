r"""The adjoint of a block of steps of masses and covariances, from its end to its beginning.

With ybar' = a ybar + b r from ybar = 0 on, m_k = c_k + ybar P_k moves without r: m'_k = a (1 - p_k) m_k and
m'_0 = a W + b r, W = sum_k p_k m_k = w + ybar r. Let lambda_k and kappa_k be the derivatives of a loss by P'_k and m'_k
before the merge, rho and omega those by r and W, the parts of the newborn included. Then

    dL/dP_k = lambda_k + p_k (rho - lambda_k),   dL/dm_k = a kappa_k + p_k (omega - a kappa_k),
    dL/dx_k = (1 - p_k) ((rho - lambda_k) P_k + (omega - a kappa_k) m_k),

and a merge gives lambda and kappa by its transpose. The states of the block are computed once again, and kept. The
derivative by a needs no sum over nodes in a step: since all is linear in m, sum_k m_k dL/dm_k changes by what enters
and leaves alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._fluctuations._cohort_steps import (
    AT_ONCE,
    UNROLL,
    Columns,
    Rows,
    Shared,
    bounded,
    probabilities,
    sums_after,
    variances,
)
from ratelike._fluctuations._cohorts import Nodes, Row, write
from ratelike._numerics._fold_batch import fold_batch
from ratelike._numerics._products import matmul


class SumsBar(NamedTuple):
    """Derivatives of a loss by what comes of a block."""

    activity: Float[Array, "block neurons"]
    read_variance: Float[Array, "block neurons"]  # where it is not negative
    last_variance: Float[Array, " neurons"]
    mass: Float[Array, "nodes neurons"]
    covariance: Float[Array, "nodes neurons"]


class Derivatives(NamedTuple):
    """Of a loss by what a block depends on, and beside them what comes of it in each step."""

    columns: Columns
    age_factor: Float[Array, "block nodes members"]
    activity: Float[Array, "block neurons"]
    variance: Float[Array, "block neurons"]


class _States(NamedTuple):
    """Of each step."""

    p: Float[Array, "block nodes neurons"]
    mass: Float[Array, "block nodes neurons"]
    moment: Float[Array, "block nodes neurons"]  # m
    clipped: Float[Array, "block neurons"]  # 1: all merged mass is at the upper node


def _block_derivatives(
    inputs: tuple[Columns, SumsBar], shared: Shared, members: int
) -> Derivatives:
    columns, bars = inputs
    decay, jump = columns.decay, columns.jump
    states, (mass, moment), r, fired_moment = _solved_again(columns, shared)

    def rows(
        start: Row, r: Rows, fired_moment: Rows, decay: Row, jump: Row
    ) -> tuple[Rows, Row]:
        means, end = _means(r, decay, jump)
        return variances(start, r, fired_moment - means * r, decay, jump), end

    ((variance, end), rows_vjp) = jax.vjp(
        rows, columns.variance, r, fired_moment, decay, jump
    )
    variance_bar = jnp.where(variance > 0.0, bars.read_variance, 0.0)
    variance_bar = variance_bar.at[-1].add(bars.last_variance)
    kappa = bars.covariance
    lam = bars.mass - end * kappa
    end_bar = -_sum_over_nodes(mass * kappa)
    start_bar, r_bar, fired_bar, decay_bar, jump_bar = rows_vjp((variance_bar, end_bar))
    r_bar = r_bar + bars.activity
    weights = _sum_over_nodes(moment * kappa)
    (lam, kappa), (neuron_bar, age_bar, newborn_bar) = _backwards(
        (lam, kappa), (r_bar, fired_bar), states, columns, shared, members
    )
    # sum_k m_k dL/dm_k before each step.
    changes = fired_bar * fired_moment - newborn_bar * jump * r
    weights = weights + jnp.cumsum(changes[::-1], axis=0)[::-1]
    survived = weights - fired_bar * fired_moment
    decay_bar = decay_bar + jnp.sum(survived, axis=0) / decay
    jump_bar = jump_bar + jnp.sum(newborn_bar * r, axis=0)
    columns_bar = Columns(neuron_bar, decay_bar, jump_bar, lam, kappa, start_bar)
    return Derivatives(columns_bar, age_bar, r, variance)


# Under `vmap` a batch becomes more neurons.
block_derivatives = fold_batch(_block_derivatives, AT_ONCE)


def _solved_again(
    columns: Columns, shared: Shared
) -> tuple[_States, tuple[Nodes, Nodes], Rows, Rows]:
    """The states before each step, the last one, r and W."""
    age_factor, aging = shared
    decay, jump = columns.decay, columns.jump

    def step(carry: tuple[Nodes, Nodes], inputs: tuple) -> tuple[tuple, tuple]:
        mass, moment = carry
        p, aging = inputs
        fired, fired_m = p * mass, p * moment
        r, total, upper = sums_after(mass, fired, aging)
        w, total_m, upper_m = sums_after(moment, fired_m, aging)
        upper_mass, total = bounded(upper, total)
        after = write(mass - fired, aging, total - upper_mass, upper_mass, r)
        total_m, upper_m = decay * total_m, decay * upper_m
        newborn_m, left_m = decay * w + jump * r, decay * (moment - fired_m)
        after_m = write(left_m, aging, total_m - upper_m, upper_m, newborn_m)
        return (after, after_m), (r, w, mass, moment, jnp.sign(upper - upper_mass))

    p = probabilities(columns.neuron_factor, age_factor)
    last, (r, w, *states) = jax.lax.scan(
        step, (columns.mass, columns.covariance), (p, aging)
    )
    return _States(p, *states), last, r, w


def _means(r: Rows, decay: Row, jump: Row) -> tuple[Rows, Row]:
    """ybar before each step, and after the last."""

    def step(mean: Row, r: Row) -> tuple[Row, Row]:
        return decay * mean + jump * r, mean

    end, means = jax.lax.scan(step, jnp.zeros_like(decay), r, unroll=UNROLL)
    return means, end


def _backwards(
    after: tuple[Nodes, Nodes],
    bars: tuple[Rows, Rows],
    states: _States,
    columns: Columns,
    shared: Shared,
    members: int,
) -> tuple[tuple[Nodes, Nodes], tuple[Rows, Array, Rows]]:
    """The derivatives by P and m before the block, those by both factors of x, and those by the newborn m."""
    decay, jump = columns.decay, columns.jump
    of_member = jnp.eye(members, dtype=decay.dtype)
    of_member = jnp.repeat(of_member, len(decay) // members, axis=0)

    def step(carry: tuple[Nodes, Nodes], inputs: tuple) -> tuple[tuple, tuple]:
        lam, kappa = carry
        neuron_factor, (age_factor, aging), (r_bar, w_bar), state = inputs
        newborn, lower, upper = matmul(aging.rows, lam)
        newborn_m, lower_m, upper_m = matmul(aging.rows, kappa)
        r_bar = r_bar + newborn + jump * newborn_m
        w_bar = w_bar + decay * newborn_m
        _, merging, share = aging.sums[..., None]
        more, more_m = upper - lower, upper_m - lower_m
        total = lower + jnp.where(state.clipped > 0, more, 0.0)
        more = jnp.where(state.clipped == 0, more, 0.0)
        lam = (1.0 - merging) * lam + merging * total + share * more
        kappa = (1.0 - merging) * kappa + merging * lower_m + share * more_m
        by_r, by_w = r_bar - lam, w_bar - decay * kappa
        x_bar = (1.0 - state.p) * (by_r * state.mass + by_w * state.moment)
        neuron_bar = matmul(age_factor[None], x_bar)[0]
        age_bar = matmul(x_bar, neuron_factor[:, None] * of_member)
        carry = lam + state.p * by_r, decay * kappa + state.p * by_w
        return carry, (neuron_bar, age_bar, newborn_m)

    inputs = (columns.neuron_factor, shared, bars, states)
    return jax.lax.scan(step, after, inputs, reverse=True)


def _sum_over_nodes(nodes: Nodes) -> Row:
    return matmul(jnp.ones((1, len(nodes)), nodes.dtype), nodes)[0]
