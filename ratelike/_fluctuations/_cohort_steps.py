r"""A block of steps of masses and covariances on a graded age mesh.

With the exponents x_k = `neuron_factor` times `age_factor` of all nodes k, p_k = 1 - exp(-x_k), masses P_k, the
covariances c_k and the variance of `Moments`, a and b (`decay` and `jump`), each step gives

    r = sum_k p_k P_k,   w = sum_k p_k c_k,   P'_k = (1 - p_k) P_k,   c'_k = a (1 - p_k) c_k - b r P'_k,

then a merge, and the newborn P'_0 = r, c'_0 = a w + b r (1 - r). Neurons, of all members of a batch, run side by side
in parts that stay in cache.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._fluctuations._cohorts import Aging, Nodes, Row, write
from ratelike._numerics import _platform as platform
from ratelike._numerics._exponential import one_minus_exp_by_doubling
from ratelike._numerics._fold_batch import fold_batch
from ratelike._numerics._products import matmul

Rows = Float[Array, "block neurons"]
AgeFactor = Float[Array, "block nodes"]
Shared = tuple[AgeFactor, Aging]
Moving = tuple[Nodes, Nodes]  # masses and covariances

# Neurons, of all members of a batch, whose states stay in a core's cache; and so many that on a GPU a step takes as long as
# it takes to launch.
IN_CACHE, ON_GPU = 512, 2**14
# Steps of a loop over rows in one turn.
UNROLL = 4


class Columns(NamedTuple):
    """What each neuron has before a block."""

    neuron_factor: Float[Array, "block neurons"]
    decay: Float[Array, " neurons"]
    jump: Float[Array, " neurons"]
    mass: Float[Array, "nodes neurons"]
    covariance: Float[Array, "nodes neurons"]
    variance: Float[Array, " neurons"]


class BlockSums(NamedTuple):
    """What comes of a block."""

    activity: Float[Array, "block neurons"]  # r
    variance: Float[Array, "block neurons"]  # after each step
    mass: Float[Array, "nodes neurons"]
    covariance: Float[Array, "nodes neurons"]


def at_once() -> int:
    """Neurons that advance together."""
    return ON_GPU if platform.has_gpu() else IN_CACHE


def _block_sums(columns: Columns, shared: Shared, members: int) -> BlockSums:
    def step(carry: Moving, inputs: tuple[Nodes, Aging]) -> tuple[Moving, tuple]:
        carry, sums, _ = one_step(columns, carry, *inputs)
        return carry, sums

    age_factor, aging = shared
    p = probabilities(columns.neuron_factor, age_factor)
    start = columns.mass, columns.covariance
    (mass, covariance), (r, w) = jax.lax.scan(step, start, (p, aging))
    return BlockSums(r, variances(columns, r, w), mass, covariance)


# Under `vmap` a batch becomes more neurons.
block_sums = fold_batch(_block_sums, at_once)


def probabilities(
    neuron_factor: Rows, age_factor: AgeFactor
) -> Float[Array, "block nodes neurons"]:
    """Of all steps at once: in the loop over steps each use would compute them again."""
    return one_minus_exp_by_doubling(neuron_factor[:, None] * age_factor[:, :, None])


def one_step(
    columns: Columns, before: Moving, p: Nodes, aging: Aging
) -> tuple[Moving, tuple[Row, Row], Row]:
    """What moves, after the step; r and w; and the mass that moves to the upper node so that none is negative."""
    (mass, covariance), decay, jump = before, columns.decay, columns.jump
    fired, fired_c = p * mass, p * covariance
    r, total, upper = _sums_after(mass, fired, aging)
    w, total_c, upper_c = _sums_after(covariance, fired_c, aging)
    total_mass = jnp.maximum(total, 0.0)
    upper_mass = jnp.clip(upper, 0.0, total_mass)
    drop, left = jump * r, mass - fired
    total_c, upper_c = decay * total_c - drop * total, decay * upper_c - drop * upper
    newborn_c = decay * w + drop * (1.0 - r)
    left_c = decay * (covariance - fired_c) - drop * left
    covariance = write(left_c, aging, total_c - upper_c, upper_c, newborn_c)
    mass = write(left, aging, total_mass - upper_mass, upper_mass, r)
    return (mass, covariance), (r, w), upper_mass - upper


def _sums_after(values: Nodes, fired: Nodes, aging: Aging) -> tuple[Row, Row, Row]:
    """What fires; and of the survivors what merges, and the part of this at the upper node."""
    all_fired, total_fired, upper_fired = matmul(aging.sums, fired)
    _, total, upper = matmul(aging.sums, values)
    return all_fired, total - total_fired, upper - upper_fired


def variances(columns: Columns, r: Rows, w: Rows) -> Rows:
    """Var y after each step."""
    _, decay, jump, _, _, start = columns
    noise = jump**2 * r * (1.0 - r) + 2.0 * decay * jump * w

    def step(variance: Row, noise: Row) -> tuple[Row, Row]:
        variance = decay**2 * variance + noise
        return variance, variance

    return jax.lax.scan(step, start, noise, unroll=UNROLL)[1]
