r"""Where in a cohort its members are: the part of them that is at the elder of two ages.

Merged cohorts spread over ages, mean age -+ one standard deviation of w equally spaced ones (the nodes of two-point
Gauss quadrature). A part e of the members stands for those at the elder age, 1 - e for those at the younger one, and

    rho = (1 - e) rho_younger + e rho_elder,   de/dt = -e (1 - e) (rho_elder - rho_younger),

since who is more likely to fire is less likely to be left. A merger keeps the mean age of all members.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._merge_schedule import Event
from ratelike._density._merging import (
    computed_before,
    left_in,
    mean_of_members,
    merge_tangent,
    survivors,
    with_row,
    write,
)
from ratelike._numerics._products import matmul

Bins = Float[Array, "bins neurons"]
Row = Float[Array, " neurons"]


@jax.custom_jvp
def merge_both(
    share: Bins, fired: Bins, incoming: Row, elder: Bins, difference: Bins, event: Event
) -> tuple[Bins, Bins]:
    """The shares and the parts e after a step; `difference` is dt (rho_elder - rho_younger), within -1 and 1.

    One pass over each of them, in place. Where nobody is left, and where all members have one age, e means nothing: so
    the e of the slot need not be reset for those who come to the bins.
    """
    members, parts = left_in(share, fired, event), _parts(elder, difference, event)
    rows = jnp.stack([members[0] + members[1], _merged(parts, members, event)])
    merged, part = computed_before(rows)
    share = write(survivors(share, fired), event, merged, incoming)
    slots = jnp.arange(len(share), dtype=jnp.int32)[:, None]
    return share, jnp.where(slots == event.elder, part, _left(elder, difference))


@merge_both.defjvp
def _(primals, tangents):
    share, fired, _, elder, difference, event = primals
    dshare, dfired, dincoming, delder, ddifference, _ = tangents
    _, dleft = jax.jvp(_left, (elder, difference), (delder, ddifference))
    slots = jnp.arange(len(share), dtype=jnp.int32)
    merging = jnp.stack([slots == event.younger, slots == event.elder])
    # By matrix products: the derivative of each slice would be an array of all bins.
    chosen = merging.astype(share.dtype)
    dparts = tuple(matmul(chosen, dleft))
    dmembers = tuple(matmul(chosen, dshare - dfired))
    _, dmerged = jax.jvp(
        lambda parts, members: _merged(parts, members, event),
        (_parts(elder, difference, event), left_in(share, fired, event)),
        (dparts, dmembers),
    )
    stays = (slots != event.elder).astype(share.dtype)[:, None]
    delder = stays * dleft
    delder += with_row(jnp.zeros_like(dleft), event.elder, dmerged[None])
    dshare = merge_tangent(dshare, dfired, dincoming, event)
    return merge_both(*primals), (dshare, delder)


def _left(elder, difference):
    return elder - elder * (1.0 - elder) * difference


def _parts(elder: Bins, difference: Bins, event: Event) -> tuple[Row, Row]:
    """e of the younger and of the elder cohort after the step."""

    def left(slot):
        return _left(elder[slot], difference[slot])

    return left(event.younger), left(event.elder)


def _merged(parts: tuple[Row, Row], members: tuple[Row, Row], event: Event) -> Row:
    """The part e of the cohort that two make, the younger first.

    In the last bin, which has one age, it means nothing.
    """
    # By how much the mean age of the members exceeds that of the new cohort, in standard deviations of its ages.
    younger = (2.0 * parts[0] - 1.0) * event.deviation - 0.5 * event.distance
    elder = (2.0 * parts[1] - 1.0) * event.deviation + 0.5 * event.distance
    excess = mean_of_members((younger, elder), members)
    return jnp.clip(0.5 + 0.5 * excess, 0.0, 1.0)
