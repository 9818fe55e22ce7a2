r"""The adjoint of a block of steps of masses and covariances, from its end to its beginning.

With ybar' = a ybar + b r from ybar = 0 on, m_k = c_k + ybar P_k moves without r: m'_k = a (1 - p_k) m_k and
m'_0 = a W + b r, W = sum_k p_k m_k = w + ybar r. Let lambda_k and kappa_k be the derivatives of a loss by P'_k and m'_k
before the merge, rho and omega those by r and W, the parts of the newborn included. Then

    dL/dP_k = lambda_k + p_k (rho - lambda_k),   dL/dm_k = a kappa_k + p_k (omega - a kappa_k),
    dL/dx_k = (1 - p_k) ((rho - lambda_k) P_k + (omega - a kappa_k) m_k),

and a merge gives lambda and kappa by its transpose. Where it moves mass delta to the upper node, so that none is
negative, m moves by ybar' delta. The states of the block are computed once again, and kept. The derivative by a needs
no sum over nodes in a step: since all is linear in m, sum_k m_k dL/dm_k changes by what enters and leaves alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._fluctuations._cohort_steps import (
    UNROLL,
    Columns,
    Moving,
    Rows,
    Shared,
    at_once,
    one_step,
    probabilities,
    variances,
)
from ratelike._fluctuations._cohorts import Aging, Nodes, Row
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
    covariance: Float[Array, "block nodes neurons"]
    moved: Float[Array, "block neurons"]  # delta
    mean: Float[Array, "block neurons"]  # ybar before
    mean_after: Float[Array, "block neurons"]


class _RowsBar(NamedTuple):
    """Derivatives by rows, without what comes of the nodes."""

    r: Float[Array, "block neurons"]
    w: Float[Array, "block neurons"]
    mean: Float[Array, "block neurons"]


def _block_derivatives(
    inputs: tuple[Columns, SumsBar], shared: Shared, members: int
) -> Derivatives:
    columns, bars = inputs
    states, (mass, covariance), r, w = _solved_again(columns, shared)
    variance, variances_vjp = jax.vjp(variances, columns, r, w)
    variance_bar = jnp.where(variance > 0.0, bars.read_variance, 0.0)
    variance_bar = variance_bar.at[-1].add(bars.last_variance)
    columns_bar, r_bar, w_bar = variances_vjp(variance_bar)
    r_bar = r_bar + bars.activity - states.mean * w_bar
    rows_bar = _RowsBar(r_bar, w_bar, -r * w_bar)
    kappa, end = bars.covariance, states.mean_after[-1]
    after = (bars.mass - end * kappa, kappa, -_sum_over_nodes(mass * kappa))
    (lam, kappa_start, _), rows = _backwards(after, rows_bar, states, columns, shared, members)  # fmt: skip
    neuron_bar, age_bar, newborn, more, mean_bar = rows
    # sum_k m_k dL/dm_k before each step.
    entered = columns.jump * r * newborn + states.mean_after * states.moved * more
    left = w_bar * (w + states.mean * r)
    weights = _sum_over_nodes((covariance + end * mass) * kappa)
    weights = weights + jnp.cumsum((left - entered)[::-1], axis=0)[::-1]
    decay_bar = jnp.sum(weights - left, axis=0) / columns.decay
    decay_bar = decay_bar + jnp.sum(states.mean * mean_bar, axis=0)
    jump_bar = jnp.sum(r * (newborn + mean_bar), axis=0)
    columns_bar = columns_bar._replace(
        neuron_factor=neuron_bar,
        decay=columns_bar.decay + decay_bar,
        jump=columns_bar.jump + jump_bar,
        mass=lam,
        covariance=kappa_start,
    )
    return Derivatives(columns_bar, age_bar, r, variance)


# Under `vmap` a batch becomes more neurons.
block_derivatives = fold_batch(_block_derivatives, at_once)


def _solved_again(
    columns: Columns, shared: Shared
) -> tuple[_States, Moving, Rows, Rows]:
    """The states in each step, what moves after the last, r and w."""
    age_factor, aging = shared

    def step(carry: Moving, inputs: tuple[Nodes, Aging]) -> tuple[Moving, tuple]:
        after, sums, moved = one_step(columns, carry, *inputs)
        return after, (*sums, *carry, moved)

    p = probabilities(columns.neuron_factor, age_factor)
    start = columns.mass, columns.covariance
    last, (r, w, mass, covariance, moved) = jax.lax.scan(step, start, (p, aging))
    states = _States(p, mass, covariance, moved, *_means(columns, r))
    return states, last, r, w


def _means(columns: Columns, r: Rows) -> tuple[Rows, Rows]:
    """ybar before and after each step."""

    def step(mean: Row, r: Row) -> tuple[Row, tuple[Row, Row]]:
        after = columns.decay * mean + columns.jump * r
        return after, (mean, after)

    return jax.lax.scan(step, jnp.zeros_like(r[0]), r, unroll=UNROLL)[1]


Carry = tuple[Nodes, Nodes, Row]  # derivatives by P, m and ybar


def _backwards(
    after: Carry,
    bars: _RowsBar,
    states: _States,
    columns: Columns,
    shared: Shared,
    members: int,
) -> tuple[Carry, tuple[Rows, Array, Rows, Rows, Rows]]:
    """Before the block; and in each step the derivatives by both factors of x, and by rows of m and ybar after it."""
    decay, jump = columns.decay, columns.jump
    of_member = jnp.eye(members, dtype=decay.dtype)
    of_member = jnp.repeat(of_member, len(decay) // members, axis=0)

    def step(carry: Carry, inputs: tuple) -> tuple[Carry, tuple]:
        lam, kappa, mean_bar = carry
        neuron_factor, (age_factor, aging), bar, state = inputs
        newborn, lower, upper = matmul(aging.rows, lam)
        newborn_m, lower_m, upper_m = matmul(aging.rows, kappa)
        more, more_m = upper - lower, upper_m - lower_m
        mean_bar = mean_bar + state.moved * more_m
        r_bar = bar.r + newborn + jump * (newborn_m + mean_bar)
        w_bar = bar.w + decay * newborn_m
        # All mass is at the upper node where some has moved away from it, and none where some has moved to it.
        moved_bar = state.mean_after * more_m
        total = lower + jnp.where(state.moved < 0.0, more + moved_bar, 0.0)
        more = jnp.where(state.moved == 0.0, more, -moved_bar)
        _, merging, share = aging.sums[..., None]
        lam = (1.0 - merging) * lam + merging * total + share * more
        kappa = (1.0 - merging) * kappa + merging * lower_m + share * more_m
        by_r, by_w = r_bar - lam, w_bar - decay * kappa
        by_mass = by_r + state.mean * by_w
        x_bar = (1.0 - state.p) * (by_mass * state.mass + by_w * state.covariance)
        neuron_bar = matmul(age_factor[None], x_bar)[0]
        age_bar = matmul(x_bar, neuron_factor[:, None] * of_member)
        before = lam + state.p * by_r, decay * kappa + state.p * by_w
        rows = neuron_bar, age_bar, newborn_m, more_m, mean_bar
        return (*before, decay * mean_bar + bar.mean), rows

    inputs = (columns.neuron_factor, shared, bars, states)
    return jax.lax.scan(step, after, inputs, reverse=True)


def _sum_over_nodes(nodes: Nodes) -> Row:
    return matmul(jnp.ones((1, len(nodes)), nodes.dtype), nodes)[0]
