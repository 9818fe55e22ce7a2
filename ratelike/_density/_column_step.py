"""One step of the density of one neuron beside others: the form for a GPU.

The equations of `_advance.py`, for hazards of two factors, with sums over ages in place of products, and with
comparisons in place of slices.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ratelike._density._bin_layout import BinLayout, Bins
from ratelike._density._firing import AgeRatio
from ratelike._density._merge_schedule import Merge
from ratelike._density._merging import survivors
from ratelike._numerics._exponential import one_minus_exp_by_exp

Row = Float[Array, " neurons"]


class Aged(NamedTuple):
    """The cohorts of each neuron."""

    mass: Bins  # (bins, neurons)
    upper_fraction: Bins | None
    queue: Bins | None  # masses (dead, neurons)

    def filled(self, layout: BinLayout) -> "Aged":
        """With empty bins, as many as the layout needs."""
        return Aged(*(layout.filled(bins) for bins in self))


class Shared(NamedTuple):
    """What all neurons see in each step."""

    ratio: Bins  # (steps, bins)
    increase: Bins | None
    bound: Float[Array, "*steps"] | None
    source: Int[Array, "*steps"]
    target: Int[Array, "*steps"]
    deviation: Float[Array, "*steps"]
    distance: Float[Array, "*steps"]
    row: Int[Array, "*steps"] | None  # of the queue


def shared_in_steps(
    ratio: AgeRatio, merge: Merge, dead: int, layout: BinLayout
) -> Shared:
    return Shared(
        ratio=layout.filled(ratio.at_lower, axis=1),
        increase=layout.filled(ratio.increase, axis=1),
        bound=ratio.bound,
        source=merge.source,
        target=merge.target,
        deviation=merge.deviation,
        distance=merge.distance,
        row=merge.step % dead if dead else None,
    )


def one_step(
    aged: Aged, exponent: Row, shared: Shared, layout: BinLayout
) -> tuple[Aged, Row]:
    """Some of the mass fires, all cohorts grow older, and two of them merge."""

    def survive(slot: Any, mass: Any, x: Any) -> Any:
        fired = mass * one_minus_exp_by_exp(x)
        left = survivors(mass, fired)
        merges = (slot == shared.source) | (slot == shared.target)
        return fired, left, jnp.where(merges, left, 0.0)

    def write(slot: Any, left: Any) -> Any:
        left = jnp.where(slot == shared.target, merged, left)
        return jnp.where(slot == shared.source, incoming, left)

    fraction, slots = aged.upper_fraction, layout.slots(aged.mass)
    ratio, increase = layout.column(shared.ratio), shared.increase
    x = layout.each(lambda ratio: exponent * ratio, ratio)
    if fraction is not None:
        increase = layout.column(increase)

        def with_excess(x: Any, increase: Any, fraction: Any) -> Any:
            return x + exponent * increase * fraction

        x = layout.each(with_excess, x, increase, fraction)
    fired, left, members = layout.each(survive, slots, aged.mass, x)
    activity, merged = layout.total(fired), layout.total(members)
    if fraction is not None:
        fraction = _fraction_after(
            fraction, increase, exponent, members, merged, shared, layout
        )
    queue, incoming = _queue_after(aged.queue, activity, shared, layout)
    mass = layout.each(write, slots, left)
    return Aged(mass, fraction, queue), activity


def _fraction_after(
    fraction: Bins,
    increase: Bins | None,
    exponent: Row,
    members: Bins,
    merged: Row,
    shared: Shared,
    layout: BinLayout,
) -> Bins:
    """The fractions of the survivors, and that of the merged cohort, which keeps the mean age."""
    assert shared.bound is not None
    bounded = jnp.minimum(exponent, shared.bound)

    def of_survivors(fraction: Any, increase: Any) -> Any:
        return fraction - fraction * (1.0 - fraction) * (bounded * increase)

    def excess(slot: Any, fraction: Any, member: Any) -> Any:
        is_source = jnp.asarray(slot == shared.source).astype(member.dtype)
        distance = (0.5 - is_source) * shared.distance
        return member * ((2.0 * fraction - 1.0) * shared.deviation + distance)

    slots = layout.slots(members)
    fraction = layout.each(of_survivors, fraction, increase)
    exists = merged > jnp.finfo(merged.dtype).tiny ** 0.5
    weighted = layout.total(layout.each(excess, slots, fraction, members))
    mean = jnp.where(exists, weighted / jnp.where(exists, merged, 1.0), 0.0)
    joined = jnp.clip(0.5 + 0.5 * mean, 0.0, 1.0)
    return layout.each(
        lambda slot, fraction: jnp.where(slot == shared.target, joined, fraction),
        slots,
        fraction,
    )


def _queue_after(
    queue: Bins | None, activity: Row, shared: Shared, layout: BinLayout
) -> tuple[Bins | None, Row]:
    """The cohorts within their dead time, and the one that enters the bins."""
    if queue is None:
        return None, activity

    def leaves(row: Any, mass: Any) -> Any:
        return jnp.where(row == shared.row, mass, 0.0)

    def enters(row: Any, mass: Any) -> Any:
        return jnp.where(row == shared.row, activity, mass)

    rows = layout.slots(queue)
    incoming = layout.total(layout.each(leaves, rows, queue))
    return layout.each(enters, rows, queue), incoming
