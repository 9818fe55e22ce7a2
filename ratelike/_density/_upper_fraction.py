r"""The mean age within a cohort, as the fraction of its mass at the upper of two nodes.

The mass of a merged cohort is spread over ages, which two nodes represent: mean age -+ one standard deviation of w
equally spaced ages (two-point Gauss quadrature). A fraction e of the mass is at the upper node, 1 - e at the lower one:

    rho = (1 - e) rho_lower + e rho_upper,   de/dt = -e (1 - e) (rho_upper - rho_lower),

since the survivors are more often at the node of the lower hazard. A merge keeps the mean age of all mass.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._merge_schedule import Merge
from ratelike._density._merging import (
    mass_tangent,
    materialise,
    mean_of_members,
    merging_survivors,
    survivors,
    with_row,
    write,
)
from ratelike._numerics._products import matmul

Bins = Float[Array, "bins neurons"]
Row = Float[Array, " neurons"]
Inputs = tuple[Bins, Bins, Row, Bins, Bins, Merge]


@jax.custom_jvp
def mass_and_fraction_after_step(
    mass: Bins, fired: Bins, incoming: Row, fraction: Bins, increase: Bins, merge: Merge
) -> tuple[Bins, Bins]:
    """The masses and the fractions e after a step; `increase` is dt (rho_upper - rho_lower), within -1 and 1.

    One pass over each of them, in place. Where no mass is left, and where all of it has one age, e means nothing: the e
    of the source need not be reset for the cohort that refills it.
    """
    members = merging_survivors(mass, fired, merge)
    fractions = _merging_fractions(fraction, increase, merge)
    merged_fraction = fraction_after_merge(fractions, members, merge)
    rows = jnp.stack([members[0] + members[1], merged_fraction])
    merged, merged_fraction = materialise(rows)
    mass = write(survivors(mass, fired), merge, merged, incoming)
    slots = jnp.arange(len(mass), dtype=jnp.int32)[:, None]
    of_survivors = fraction_of_survivors(fraction, increase)
    return mass, jnp.where(slots == merge.target, merged_fraction, of_survivors)


@mass_and_fraction_after_step.defjvp
def _(primals: Inputs, tangents: Inputs) -> tuple[tuple[Bins, Bins], tuple[Bins, Bins]]:
    mass, fired, _, fraction, increase, merge = primals
    dmass, dfired, dincoming, dfraction, dincrease, _ = tangents
    point, direction = (fraction, increase), (dfraction, dincrease)
    _, dof_survivors = jax.jvp(fraction_of_survivors, point, direction)
    slots = jnp.arange(len(mass), dtype=jnp.int32)
    merging = jnp.stack([slots == merge.source, slots == merge.target])
    # By matrix products: the derivative of each slice would be an array of all bins.
    chosen = merging.astype(mass.dtype)
    dfractions = tuple(matmul(chosen, dof_survivors))
    dmembers = tuple(matmul(chosen, dmass - dfired))
    members = merging_survivors(mass, fired, merge)
    _, dmerged = jax.jvp(
        lambda fractions, members: fraction_after_merge(fractions, members, merge),
        (_merging_fractions(fraction, increase, merge), members),
        (dfractions, dmembers),
    )
    stays = (slots != merge.target).astype(mass.dtype)[:, None]
    dfraction = stays * dof_survivors
    dfraction += with_row(jnp.zeros_like(dof_survivors), merge.target, dmerged[None])
    dmass = mass_tangent(dmass, dfired, dincoming, merge)
    return mass_and_fraction_after_step(*primals), (dmass, dfraction)


def fraction_of_survivors(
    fraction: Float[Array, "*shape"], increase: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return fraction - fraction * (1.0 - fraction) * increase


def _merging_fractions(fraction: Bins, increase: Bins, merge: Merge) -> tuple[Row, Row]:
    """e of the source and of the target of a merge, after the step."""

    def after(slot: Array) -> Row:
        return fraction_of_survivors(fraction[slot], increase[slot])

    return after(merge.source), after(merge.target)


def fraction_after_merge(
    fractions: tuple[Row, Row], members: tuple[Row, Row], merge: Merge
) -> Row:
    """The fraction e of the merged cohort; in the last bin, which has one age, it means nothing."""
    # By how much the mean age of the mass exceeds that of the new cohort, in standard deviations of its ages.
    source = (2.0 * fractions[0] - 1.0) * merge.deviation - 0.5 * merge.distance
    target = (2.0 * fractions[1] - 1.0) * merge.deviation + 0.5 * merge.distance
    excess = mean_of_members((source, target), members)
    return jnp.clip(0.5 + 0.5 * excess, 0.0, 1.0)
