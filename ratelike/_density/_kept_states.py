"""A block of steps on a graded mesh, solved once more to keep its states."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._density_block import DensityBlock
from ratelike._density._firing import (
    SeparableHazard,
    exponent_increase,
    fired_mass,
    sum_over_ages,
)
from ratelike._density._merge_schedule import Merge
from ratelike._density._merging import survivors, with_row, write
from ratelike._density._upper_fraction import (
    fraction_after_merge,
    fraction_of_survivors,
)

Bins = Float[Array, "bins neurons"]
Row = Float[Array, " neurons"]
# Of the source and of the target of a merge.
Pair = tuple[Float[Array, "*steps neurons"], Float[Array, "*steps neurons"]]


class Kept(NamedTuple):
    """Between the steps of a block."""

    mass: Float[Array, "ends bins neurons"]
    fraction: Float[Array, "ends bins neurons"]


def solved_again(
    block: DensityBlock,
    mass: Bins,
    waiting: Float[Array, "dead neurons"],
    merges: Merge,
    one: Row,
) -> tuple[Kept, Float[Array, "block neurons"], Pair, Pair]:
    """What is kept, the activity, and masses and upper fractions of the survivors that merge in each step."""
    dead, num_steps = block.schedule.dead, len(block.steps)
    assert block.before.upper_fraction is not None

    def one_step(carry: tuple, inputs: tuple) -> tuple[tuple, tuple]:
        mass, fraction, born, kept = carry
        index, x, ratio, merge = inputs
        hazard = SeparableHazard(x, ratio, fraction)
        fired = fired_mass(mass, hazard, 1.0)
        activity = sum_over_ages(fired)
        born = with_row(born, merge.step % (dead + 1), activity[None])
        entering = born[(merge.step + 1) % (dead + 1)]
        kept = Kept(
            *[
                jax.lax.dynamic_update_index_in_dim(x, bins, index, 0)
                for x, bins in zip(kept, (mass, fraction), strict=True)
            ]
        )
        # What merges is read from what has just been kept: then XLA knows that nothing reads the old bins any more.
        slots, bounded = (merge.source, merge.target), jnp.minimum(x, ratio.bound)
        masses = [survivors(kept.mass[index, slot], fired[slot]) for slot in slots]
        fractions = [
            fraction_of_survivors(
                kept.fraction[index, slot], bounded * ratio.increase[slot]
            )
            for slot in slots
        ]
        (source, target), (lower, upper) = apart(masses, one), apart(fractions, one)
        masses, fractions = (source, target), (lower, upper)
        merged = fraction_after_merge(fractions, masses, merge)
        merged_mass, merged = apart([masses[0] + masses[1], merged], one)
        mass = write(survivors(mass, fired), merge, merged_mass, entering)
        fraction = fraction_of_survivors(fraction, exponent_increase(hazard, 1.0))
        # That of the newborn cohort means nothing.
        fraction = write(fraction, merge, merged, merged)
        return (mass, fraction, born, kept), (activity, masses, fractions)

    births = block.steps[0] - dead + jnp.arange(dead, dtype=jnp.int32)
    born = in_ring(waiting, births, dead, lag=0)
    empty = jax.lax.empty((num_steps + 1, *mass.shape), mass.dtype)
    start = mass, block.before.upper_fraction, born, Kept(empty, empty)
    indices = jnp.arange(num_steps, dtype=jnp.int32)
    inputs = indices, block.exponent, block.age_ratio, merges
    (mass, _, _, kept), outputs = jax.lax.scan(one_step, start, inputs)
    at_end = jax.lax.dynamic_update_index_in_dim(kept.mass, mass, num_steps, 0)
    activity, masses, fractions = outputs
    return kept._replace(mass=at_end), activity, masses, fractions


def in_ring(
    rows: Float[Array, "dead neurons"],
    births: Integer[Array, " dead"],
    dead: int,
    lag: int | None = None,
) -> Float[Array, "ring neurons"]:
    """The refractory queue with one row more, in which what leaves it can be read after what enters has been written."""
    ring = jnp.zeros((dead + 1, rows.shape[1]), rows.dtype)
    places = births + (dead if lag is None else lag)
    return ring.at[places % (dead + 1)].set(rows[births % max(dead, 1)])


def apart(rows: Sequence[Row], one: Row) -> tuple[Row, ...]:
    """Rows that XLA computes before the loops over bins that use them, as it does with quotients."""
    return tuple(row / one for row in rows)
