r"""Where in a cohort its members are: the part of them that is at the elder of two ages.

Merged cohorts spread over ages, mean age -+ one standard deviation of w equally spaced ones (the nodes of two-point
Gauss quadrature). A part e of the members stands for those at the elder age, 1 - e for those at the younger one, and

    rho = (1 - e) rho_younger + e rho_elder,   de/dt = -e (1 - e) (rho_elder - rho_younger),

since who is more likely to fire is less likely to be left. A merger keeps the mean age of all members.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._merge_schedule import Event, spread
from ratelike._density._merging import (
    left_in,
    mean_of_members,
    merge_tangent,
    survivors,
    with_row,
    write,
)
from ratelike._population import matmul

Bins = Float[Array, "bins neurons"]
Row = Float[Array, " neurons"]


@jax.custom_jvp
def merge_both(
    share: Bins, fired: Bins, newborn: Row, elder: Bins, difference: Bins, event: Event
) -> tuple[Bins, Bins]:
    """The shares and the parts e after a step; `difference` is dt (rho_elder - rho_younger), within -1 and 1.

    One pass over each of them, in place. Of an empty bin, and of one whose members have one age, e means nothing.
    """
    in_last, younger_ones, elder_ones = left_in(share, fired, event)
    members, parts = (younger_ones, elder_ones), _parts(elder, difference, event)

    # A choice is computed apart from the loops that its results are used in. Else XLA reads the old bins while the new
    # ones are written, which takes a copy of all of them.
    merged, part = jax.lax.cond(
        event.retires,
        lambda: (in_last + younger_ones, parts[0]),
        lambda: (younger_ones + elder_ones, _merged(parts, members, event.width)),
    )
    share = write(survivors(share, fired), event, merged, newborn)
    slots = jnp.arange(len(share), dtype=jnp.int32)[:, None]
    left = _left(elder, difference)
    return share, jnp.where(slots == event.target, part, left)


@merge_both.defjvp
def _(primals, tangents):
    share, fired, _, elder, difference, event = primals
    dshare, dfired, dnewborn, delder, ddifference, _ = tangents
    _, dleft = jax.jvp(_left, (elder, difference), (delder, ddifference))
    slots = jnp.arange(len(share), dtype=jnp.int32)
    merging = jnp.stack([slots == event.younger, slots == event.elder])
    # By matrix products: the derivative of each slice would be an array of all bins.
    chosen = merging.astype(share.dtype)
    dparts = tuple(matmul(chosen, dleft))
    dmembers = tuple(matmul(chosen, dshare - dfired))
    _, dmerged = jax.jvp(
        lambda parts, members: _merged(parts, members, event.width),
        (_parts(elder, difference, event), left_in(share, fired, event)[1:]),
        (dparts, dmembers),
    )
    stays = (slots != event.target).astype(share.dtype)[:, None]
    delder = stays * dleft
    delder += with_row(jnp.zeros_like(dleft), event.target, dmerged[None])
    dshare = merge_tangent(dshare, dfired, dnewborn, event)
    return merge_both(*primals), (dshare, delder)


def _left(elder, difference):
    return elder - elder * (1.0 - elder) * difference


def _parts(elder: Bins, difference: Bins, event: Event) -> tuple[Row, Row]:
    """e of the younger and of the elder cohort after the step."""

    def left(slot):
        return _left(elder[slot], difference[slot])

    return left(event.younger), left(event.elder)


def _merged(parts: tuple[Row, Row], members: tuple[Row, Row], width) -> Row:
    """The part e of the cohort that two make, the younger first; their mean ages differ by their `width`."""
    width = width.astype(parts[0].dtype)
    # By how much the mean age of the members exceeds that of the new cohort.
    younger = (2.0 * parts[0] - 1.0) * spread(width) - 0.5 * width
    elder = (2.0 * parts[1] - 1.0) * spread(width) + 0.5 * width
    excess = mean_of_members((younger, elder), members)
    return jnp.clip(0.5 + 0.5 * excess / spread(2.0 * width), 0.0, 1.0)
