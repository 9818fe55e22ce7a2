r"""The density and its perturbations on a graded age mesh: two point masses for each cohort, at its two nodes of age.

The nodes are the mean age -+ one standard deviation of the cohort's ages (two-point Gauss quadrature). At each node p is
that of its age. A merge keeps the sum and the mean age of what merges: a fixed matrix, with z the distance of a node from
the mean age of the new cohort, in standard deviations of its ages,

    upper' = sum of (1 + z)/2 x over the four nodes,    lower' = sum of (1 - z)/2 x.

So whatever moves like the density moves linearly; only masses are kept from becoming negative. There is no refractory
queue: cohorts are in the bins from their birth on.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer

from ratelike._density._age_mesh import AgeMesh
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._neuron import AbstractNeuronModel
from ratelike._numerics._products import matmul

Nodes = Float[Array, "nodes neurons"]  # the lower node of each bin, then the upper ones
Row = Float[Array, " neurons"]


class Aging(NamedTuple):
    """What a step does to cohorts; for a block, a row for each of its steps."""

    age: Float[Array, "*steps nodes"]  # in steps
    source: Integer[Array, "*steps"]
    target: Integer[Array, "*steps"]
    # Three sums over nodes: of all, of those that merge, and of the part of these that goes to the upper node.
    sums: Float[Array, "*steps 3 nodes"]
    # The lower node of the source, and both of the target.
    rows: Float[Array, "*steps 3 nodes"]


def merge_schedule(
    mesh: AgeMesh, neuron: AbstractNeuronModel, dt: float
) -> MergeSchedule | None:
    """None where ages are exact."""
    schedule = mesh.schedule_of(neuron, dt)
    if schedule.num_levels == 1:
        return None
    return MergeSchedule(schedule.memory, (0, *schedule.starts[1:]))


def aging(
    schedule: MergeSchedule, steps: Integer[Array, " steps"], dtype: DTypeLike
) -> Aging:
    mean, deviation = schedule.ages(steps, dtype)
    age = jnp.concatenate([mean - deviation, mean + deviation], axis=-1)
    merge, num_bins = schedule.merge(steps + 1, dtype), schedule.num_bins
    source, target = merge.source[:, None], merge.target[:, None]
    merging = jnp.concatenate([source, source + num_bins, target, target + num_bins], 1)
    sides, signs = np.array([[-0.5, -0.5, 0.5, 0.5], [-1.0, 1.0, -1.0, 1.0]])
    z = merge.distance[:, None] * jnp.asarray(sides, dtype)
    z = z + merge.deviation[:, None] * jnp.asarray(signs, dtype)
    # The last bin has one age: all of it is at its lower node.
    share = jnp.where(target < num_bins - 1, 0.5 + 0.5 * z, 0.0)
    ones = jnp.ones_like(share)
    weights = jnp.stack([0.0 * ones, ones, share], axis=1)
    nodes = jnp.arange(2 * num_bins, dtype=jnp.int32)
    sums = jnp.where(np.arange(3)[:, None] == 0, ones[:, :1, None], 0.0)
    for each in range(4):
        hit = nodes == merging[:, each, None, None]
        sums = sums + jnp.where(hit, weights[:, :, each, None], 0.0)
    rows = (nodes == merging[:, np.array([0, 2, 3]), None]).astype(dtype)
    return Aging(age, merge.source, merge.target, sums, rows)


def write(bins: Nodes, aging: Aging, lower: Row, upper: Row, newborn: Row) -> Nodes:
    """By comparison with every node, which fuses with what computes the bins."""
    num_bins = len(bins) // 2
    nodes = jnp.arange(len(bins), dtype=jnp.int32)[:, None]
    bins = jnp.where(nodes == aging.target, lower, bins)
    bins = jnp.where(nodes == aging.target + num_bins, upper, bins)
    bins = jnp.where(nodes == aging.source, newborn, bins)
    return jnp.where(nodes == aging.source + num_bins, 0.0, bins)


def shift_cohorts(newborn: Row, survivors: Nodes, aging: Aging) -> Nodes:
    """After a step: of anything that moves like the density."""
    _, total, upper = matmul(aging.sums, survivors)
    return write(survivors, aging, total - upper, upper, newborn)


def shift_masses(newborn: Row, survivors: Nodes, aging: Aging) -> Nodes:
    """The same of masses, which are not negative."""
    _, total, upper = matmul(aging.sums, survivors)
    upper = jnp.clip(upper, 0.0, total)
    return write(survivors, aging, total - upper, upper, newborn)
