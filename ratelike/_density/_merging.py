"""Bins that stay where they are: two cohorts become one, and another takes the place of one of them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._merge_schedule import Event
from ratelike._numerics._products import matmul


def survivors(
    share: Float[Array, "..."], fired: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Whatever is rounded where, no share becomes negative."""
    return jnp.where(fired < share, share - fired, 0.0)


def left_in(
    share: Float[Array, "bins neurons"],
    fired: Float[Array, "bins neurons"],
    event: Event,
) -> tuple[Float[Array, " neurons"], Float[Array, " neurons"]]:
    """The survivors in the bins that `event` makes one, the younger first."""
    slots = event.younger, event.elder
    younger, elder = [survivors(share[slot], fired[slot]) for slot in slots]
    return younger, elder


@jax.custom_jvp
def merge(
    share: Float[Array, "bins neurons"],
    fired: Float[Array, "bins neurons"],
    incoming: Float[Array, " neurons"],
    event: Event,
) -> Float[Array, "bins neurons"]:
    """The shares after a step. One pass over all bins, in place."""
    younger, elder = left_in(share, fired, event)
    row = younger + elder
    merged = computed_before(jnp.stack([row, jnp.zeros_like(row)]))[0]
    return write(survivors(share, fired), event, merged, incoming)


@merge.defjvp
def _(primals, tangents):
    (share, fired, incoming, event), (dshare, dfired, dincoming, _) = primals, tangents
    tangent = merge_tangent(dshare, dfired, dincoming, event)
    return merge(share, fired, incoming, event), tangent


def merge_tangent(dshare, dfired, dincoming, event: Event):
    """One pass as well, and its transpose too; the derivative of each slice would be an array of all bins."""
    dsurvivors = dshare - dfired
    slots = jnp.arange(len(dshare), dtype=jnp.int32)
    joins = (slots == event.younger) | (slots == event.elder)
    tangent = (~joins).astype(dshare.dtype)[:, None] * dsurvivors
    nothing = jnp.zeros_like(dshare)
    for slot, drow in (
        (event.elder, matmul(joins.astype(dshare.dtype)[None], dsurvivors)),
        (event.younger, dincoming[None]),
    ):
        tangent += with_row(nothing, slot, drow)
    return tangent


def write(bins: Array, event: Event, merged, incoming) -> Array:
    """By comparison with every bin, which fuses with what computes the bins."""
    slots = jnp.arange(bins.shape[0], dtype=jnp.int32)
    slots = slots.reshape(-1, *[1] * (bins.ndim - 1))
    bins = jnp.where(slots == event.elder, merged, bins)
    return jnp.where(slots == event.younger, incoming, bins)


def mean_of_members(
    values: Sequence[Array] | Array, members: Sequence[Array] | Array
) -> Array:
    """sum_c members_c values_c / sum_c members_c; zero where next to nobody is left.

    The derivative divides by the members again: what counts as nobody must be more than the smallest number.
    """
    total = sum(members[1:], start=members[0])
    anyone = total > jnp.finfo(total.dtype).tiny ** 0.5
    weighted = [n * x for n, x in zip(members, values, strict=True)]
    mean = sum(weighted[1:], start=weighted[0]) / jnp.where(anyone, total, 1.0)
    return jnp.where(anyone, mean, 0.0)


def with_row(bins: Float[Array, "bins neurons"], slot, row: Float[Array, "#1 neurons"]):
    """The bins with another row in `slot`, by copying no other row."""
    return jax.lax.dynamic_update_slice(bins, row, (slot, jnp.zeros_like(slot)))


def computed_before(rows: Float[Array, "rows neurons"]) -> Float[Array, "rows neurons"]:
    """A product with the identity: XLA computes it apart from the loop that it is used in.

    Else it reads the old bins while the new ones are written, which takes a copy of all of them.
    """
    return matmul(jnp.eye(len(rows), dtype=rows.dtype), rows)
