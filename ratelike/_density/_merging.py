"""Bins that stay where they are in memory: two cohorts merge, and another one refills the slot of the younger."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._merge_schedule import Merge
from ratelike._numerics._products import matmul

Bins = Float[Array, "bins neurons"]
Row = Float[Array, " neurons"]


def survivors(
    mass: Float[Array, "*shape"], fired: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The mass that has not fired, which no rounding makes negative."""
    return jnp.where(fired < mass, mass - fired, 0.0)


def merging_survivors(mass: Bins, fired: Bins, merge: Merge) -> tuple[Row, Row]:
    """The survivors in the source and in the target of a merge."""
    slots = merge.source, merge.target
    source, target = [survivors(mass[slot], fired[slot]) for slot in slots]
    return source, target


@jax.custom_jvp
def mass_after_step(mass: Bins, fired: Bins, incoming: Row, merge: Merge) -> Bins:
    """One pass over all bins, in place."""
    source, target = merging_survivors(mass, fired, merge)
    row = source + target
    merged = materialise(jnp.stack([row, jnp.zeros_like(row)]))[0]
    return write(survivors(mass, fired), merge, merged, incoming)


@mass_after_step.defjvp
def _(
    primals: tuple[Bins, Bins, Row, Merge], tangents: tuple[Bins, Bins, Row, Merge]
) -> tuple[Bins, Bins]:
    (mass, fired, incoming, merge), (dmass, dfired, dincoming, _) = primals, tangents
    tangent = mass_tangent(dmass, dfired, dincoming, merge)
    return mass_after_step(mass, fired, incoming, merge), tangent


def mass_tangent(dmass: Bins, dfired: Bins, dincoming: Row, merge: Merge) -> Bins:
    """One pass as well, and its transpose too; the derivative of each slice would be an array of all bins."""
    dsurvivors = dmass - dfired
    slots = jnp.arange(len(dmass), dtype=jnp.int32)
    merges = (slots == merge.source) | (slots == merge.target)
    tangent = (~merges).astype(dmass.dtype)[:, None] * dsurvivors
    zeros = jnp.zeros_like(dmass)
    for slot, drow in (
        (merge.target, matmul(merges.astype(dmass.dtype)[None], dsurvivors)),
        (merge.source, dincoming[None]),
    ):
        tangent += with_row(zeros, slot, drow)
    return tangent


def write(bins: Bins, merge: Merge, merged: Row, incoming: Row) -> Bins:
    """By comparison with every bin, which fuses with what computes the bins."""
    slots = jnp.arange(bins.shape[0], dtype=jnp.int32)
    slots = slots.reshape(-1, *[1] * (bins.ndim - 1))
    bins = jnp.where(slots == merge.target, merged, bins)
    return jnp.where(slots == merge.source, incoming, bins)


def mean_of_members(
    values: Sequence[Array] | Array, members: Sequence[Array] | Array
) -> Array:
    """sum_c members_c values_c / sum_c members_c; zero where hardly any mass is left.

    The derivative divides by the mass again: the smallest mass that counts must be more than the smallest number.
    """
    total = sum(members[1:], start=members[0])
    exists = total > jnp.finfo(total.dtype).tiny ** 0.5
    weighted = [n * x for n, x in zip(members, values, strict=True)]
    mean = sum(weighted[1:], start=weighted[0]) / jnp.where(exists, total, 1.0)
    return jnp.where(exists, mean, 0.0)


def quotient(
    bar: Float[Array, "*shape"], mass: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """bar / mass; where there is no mass nothing depends on it."""
    exists = mass > 0.0
    return jnp.where(exists, bar / jnp.where(exists, mass, 1.0), 0.0)


def with_row(
    bins: Bins, slot: Integer[Array, ""], row: Float[Array, "1 neurons"]
) -> Bins:
    """The bins with another row in `slot`, by copying no other row."""
    return jax.lax.dynamic_update_slice(bins, row, (slot, jnp.zeros_like(slot)))


def materialise(rows: Float[Array, "rows neurons"]) -> Float[Array, "rows neurons"]:
    """A product with the identity: XLA computes it before the loop over bins in which it is used.

    Otherwise that loop reads the old bins while it writes the new ones, which takes a copy of all of them.
    """
    return matmul(jnp.eye(len(rows), dtype=rows.dtype), rows)
