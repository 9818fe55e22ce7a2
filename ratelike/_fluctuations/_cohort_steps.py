r"""A block of steps of masses and covariances on a graded age mesh, with an adjoint of its own.

With the exponents x_k = `neuron_factor` times `age_factor` of all nodes k, p_k = 1 - exp(-x_k), masses P_k, the
covariances c_k of `Moments`, a and b (`decay` and `jump`), each step gives

    r = sum_k p_k P_k,   w = sum_k p_k c_k,   P'_k = (1 - p_k) P_k,   c'_k = a (1 - p_k) c_k - b r P'_k,

then a merge, and the newborn P'_0 = r, c'_0 = a w + b r (1 - r).

*Adjoint.* With ybar' = a ybar + b r from ybar = 0 on, m_k = c_k + ybar P_k moves without r, m'_k = a (1 - p_k) m_k,
m'_0 = a W + b r, W = sum_k p_k m_k = w + ybar r. With the derivatives lambda and kappa of a loss by P' and m' before the merge,
rho by r and omega by W, those of the newborn included,

    dL/dP_k = lambda + p_k (rho - lambda),   dL/dm_k = a kappa + p_k (omega - a kappa),
    dL/dx_k = (1 - p_k) ((rho - lambda) P_k + (omega - a kappa) m_k).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._fluctuations._cohorts import Aging, Nodes, Row, write
from ratelike._numerics._exponential import one_minus_exp_by_doubling
from ratelike._numerics._fold_batch import fold_batch
from ratelike._numerics._products import matmul
from ratelike._signal._membrane import UNROLL

Rows = Float[Array, "block neurons"]
AgeFactor = Float[Array, "block nodes"]
Shared = tuple[AgeFactor, Aging]

# Neurons, of all members of a batch, whose states stay in cache.
AT_ONCE = 512


class Columns(NamedTuple):
    """What each neuron has."""

    neuron_factor: Float[Array, "block neurons"]
    decay: Float[Array, " neurons"]
    jump: Float[Array, " neurons"]
    mass: Float[Array, "nodes neurons"]
    covariance: Float[Array, "nodes neurons"]


class BlockSums(NamedTuple):
    """What comes of a block."""

    activity: Float[Array, "block neurons"]  # r
    with_spike: Float[Array, "block neurons"]  # w
    mass: Float[Array, "nodes neurons"]
    covariance: Float[Array, "nodes neurons"]


def _probabilities(
    neuron_factor: Rows, age_factor: AgeFactor
) -> Float[Array, "block nodes neurons"]:
    """Of all steps at once: in the loop over steps every use would compute them again."""
    return one_minus_exp_by_doubling(neuron_factor[:, None] * age_factor[:, :, None])


@jax.custom_vjp
def cohort_steps(columns: Columns, age_factor: AgeFactor, aging: Aging) -> BlockSums:
    return _sums(columns, (age_factor, aging))


def _sums_of(columns: Columns, shared: Shared, members: int) -> BlockSums:
    age_factor, aging = shared
    decay, jump = columns.decay, columns.jump

    def step(carry: tuple[Nodes, Nodes], inputs: tuple) -> tuple[tuple, tuple]:
        mass, covariance = carry
        p, aging = inputs
        fired, fired_covariance = p * mass, p * covariance
        (r, *gone), (w, *gone_c) = [
            matmul(aging.sums, x) for x in (fired, fired_covariance)
        ]
        (_, *there), (_, *there_c) = [matmul(aging.sums, x) for x in (mass, covariance)]
        total, upper = [x - y for x, y in zip(there, gone, strict=False)]
        total = jnp.maximum(total, 0.0)
        upper_mass = jnp.clip(upper, 0.0, total)
        drop = jump * r
        total_c, upper_c = [
            decay * (x - y) for x, y in zip(there_c, gone_c, strict=False)
        ]
        total_c, upper_c = total_c - drop * total, upper_c - drop * upper
        left = mass - fired
        covariance = write(
            decay * (covariance - fired_covariance) - drop * left,
            aging,
            total_c - upper_c,
            upper_c,
            decay * w + drop * (1.0 - r),
        )
        mass = write(left, aging, total - upper_mass, upper_mass, r)
        return (mass, covariance), (r, w)

    start = columns.mass, columns.covariance
    end, sums = jax.lax.scan(
        step, start, (_probabilities(columns.neuron_factor, age_factor), aging)
    )
    return BlockSums(*sums, *end)


def _uncentred(r: Rows, decay: Row, jump: Row) -> tuple[Rows, Row]:
    """ybar before each step, and after the last."""

    def step(mean: Row, r: Row) -> tuple[Row, Row]:
        return decay * mean + jump * r, mean

    end, means = jax.lax.scan(step, jnp.zeros_like(decay), r, unroll=4)
    return means, end


def _with_spike(r: Rows, uncentred: Rows, decay: Row, jump: Row) -> tuple[Rows, Row]:
    means, end = _uncentred(r, decay, jump)
    return uncentred - means * r, end


def _with_states_of(columns: Columns, shared: Shared, members: int):
    age_factor, aging = shared
    decay, jump = columns.decay, columns.jump

    def step(carry: tuple[Nodes, Nodes], inputs: tuple) -> tuple[tuple, tuple]:
        mass, moment = carry
        p, aging = inputs
        fired, fired_moment = p * mass, p * moment
        (r, *gone), (w, *gone_c) = [
            matmul(aging.sums, x) for x in (fired, fired_moment)
        ]
        (_, *there), (_, *there_c) = [matmul(aging.sums, x) for x in (mass, moment)]
        total, upper = [x - y for x, y in zip(there, gone, strict=False)]
        total = jnp.maximum(total, 0.0)
        upper_mass = jnp.clip(upper, 0.0, total)
        clipped = jnp.sign(upper - upper_mass)
        total_c, upper_c = [
            decay * (x - y) for x, y in zip(there_c, gone_c, strict=False)
        ]
        after = write(mass - fired, aging, total - upper_mass, upper_mass, r)
        after_moment = write(
            decay * (moment - fired_moment),
            aging,
            total_c - upper_c,
            upper_c,
            decay * w + jump * r,
        )
        return (after, after_moment), (r, w, clipped, mass, moment)

    start = columns.mass, columns.covariance
    p = _probabilities(columns.neuron_factor, age_factor)
    (mass, moment), (r, uncentred, clipped, *states) = jax.lax.scan(
        step, start, (p, aging)
    )
    states.append(p)
    w, end = _with_spike(r, uncentred, decay, jump)
    out = BlockSums(r, w, mass, moment - end * mass)
    return out, (columns, r, uncentred, clipped, states, (mass, moment, end))


def _backward_of(all_columns, shared: Shared, members: int):
    (columns, r, uncentred, clipped, states, (mass, moment, end)), bars = all_columns
    age_factor, aging = shared
    decay, jump = columns.decay, columns.jump
    num_nodes = len(mass)
    kappa = bars.covariance
    lam = bars.mass - end * kappa
    end_bar = -matmul(jnp.ones((1, num_nodes), mass.dtype), mass * kappa)[0]
    _, rows_vjp = jax.vjp(_with_spike, r, uncentred, decay, jump)
    r_bar, w_bar, decay_bar, jump_bar = rows_vjp((bars.with_spike, end_bar))
    r_bar = r_bar + bars.activity

    def step(carry, inputs):
        lam, kappa = carry
        (
            neuron_factor,
            age_factor,
            aging,
            r_bar,
            w_bar,
            clipped,
            (mass, moment, p),
        ) = inputs
        (newborn, lower, upper), (newborn_m, lower_m, upper_m) = [
            matmul(aging.rows, x) for x in (lam, kappa)
        ]
        r_bar = r_bar + newborn + jump * newborn_m
        w_bar = w_bar + decay * newborn_m
        _, merging, share = aging.sums[..., None]
        stays = 1.0 - merging
        up = upper - lower
        total_bar = lower + jnp.where(clipped > 0, up, 0.0)
        upper_bar = jnp.where(clipped == 0, up, 0.0)
        lam = stays * lam + merging * total_bar + share * upper_bar
        kappa = decay * (
            stays * kappa + merging * lower_m + share * (upper_m - lower_m)
        )
        by_r, by_w = r_bar - lam, w_bar - kappa
        x_bar = (1.0 - p) * (by_r * mass + by_w * moment)
        out = (
            matmul(age_factor[None], x_bar)[0],
            matmul(x_bar, neuron_factor[:, None] * member),
            newborn_m,
        )
        return (lam + p * by_r, kappa + p * by_w), out

    # The neurons of each member.
    member = jnp.repeat(
        jnp.eye(members, dtype=mass.dtype), mass.shape[1] // members, axis=0
    )
    inputs = (
        columns.neuron_factor,
        age_factor,
        aging,
        r_bar,
        w_bar,
        clipped,
        states,
    )
    q_end = matmul(jnp.ones((1, num_nodes), mass.dtype), moment * kappa)[0]
    (lam, kappa), (neuron_bar, age_bar, newborn_bar) = jax.lax.scan(
        step, (lam, kappa), inputs, reverse=True
    )
    # sum_k m_k dL/dm_k before each step, of which the derivative by `decay` is made
    steps = w_bar * uncentred - newborn_bar * jump * r
    q = q_end + jnp.cumsum(steps[::-1], axis=0)[::-1]
    decay_bar = decay_bar + jnp.sum(q - w_bar * uncentred, axis=0) / decay
    jump_bar = jump_bar + jnp.sum(newborn_bar * r, axis=0)
    return Columns(neuron_bar, decay_bar, jump_bar, lam, kappa), age_bar


_sums = fold_batch(_sums_of, AT_ONCE)
_with_states = fold_batch(_with_states_of, AT_ONCE)
_derivatives = fold_batch(_backward_of, AT_ONCE)


def _forward(columns: Columns, age_factor: AgeFactor, aging: Aging):
    shared = age_factor, aging
    sums, kept = _with_states(columns, shared)
    return sums, (kept, shared)


def _backward(kept, bars: BlockSums):
    columns, shared = kept
    columns_bar, age_bar = _derivatives((columns, bars), shared)
    return columns_bar, age_bar[..., 0], None


cohort_steps.defvjp(_forward, _backward)
