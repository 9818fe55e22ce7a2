"""A block of steps of the density as a scan in which every neuron goes its own way: the form for a GPU.

The equations of `_advance.py`, for hazards of two factors, with sums over ages in place of products, and with
comparisons in place of slices.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ratelike._density._bin_layout import BinLayout, Bins, InRows, layout_of
from ratelike._density._merging import survivors
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._renewal_term import StepInputs
from ratelike._neuron._hazards import shared_factors
from ratelike._numerics._column_scan import ColumnScan
from ratelike._numerics._exponential import one_minus_exp_by_exp
from ratelike._signal._membrane import Leak, leak_of
from ratelike._types import PyTree

Row = Float[Array, " neurons"]


class Columns(NamedTuple):
    """What each neuron carries from step to step."""

    potential: Row
    seen: Row  # f(h)
    mass: Bins  # (bins, neurons)
    upper_fraction: Bins | None
    queue: Bins | None  # masses (dead, neurons)


class _Constants(NamedTuple):
    rate: PyTree[Array]  # the arrays of f
    bias: Row
    leak: Leak


class _Shared(NamedTuple):
    """What all neurons see in each step."""

    ratio: Float[Array, "steps bins"]
    increase: Float[Array, "steps bins"] | None
    bound: Float[Array, " steps"] | None
    source: Int[Array, " steps"]
    target: Int[Array, " steps"]
    deviation: Float[Array, " steps"]
    distance: Float[Array, " steps"]
    row: Int[Array, " steps"] | None  # of the queue


class BlockScan(NamedTuple):
    """A scan that is known to have a kernel."""

    scan: ColumnScan
    layout: BinLayout
    constants: _Constants
    shared: _Shared

    def __call__(
        self, columns: Columns, current: Float[Array, "block neurons"]
    ) -> tuple[Columns, Float[Array, "block neurons"], Float[Array, "block neurons"]]:
        """After all steps; the expected spikes in each, and the potential at its end."""
        filled = _filled(columns, self.layout)
        after, (activity, potential) = self.scan(
            self.constants, filled, self.shared, current[:, None]
        )

        def as_before(filled: Array, before: Array) -> Array:
            return filled[: len(before)]

        # Rows over neurons lose nothing.
        return (
            jax.tree.map(as_before, after, columns),
            activity[:, 0],
            potential[:, 0],
        )


def block_scan(
    columns: Columns, inputs: StepInputs, problem: RenewalProblem
) -> BlockScan | None:
    """None where there is no kernel: for a hazard of another form, and for one age or very many."""
    neuron, dt = problem.population.neuron, problem.dt
    factors, ratio = shared_factors(neuron), inputs.age_ratio
    layout = layout_of(len(columns.mass))
    if factors is None or ratio is None or layout is None:
        return None
    arrays, rest = eqx.partition(factors.rate, eqx.is_array)

    def body(
        constants: _Constants, columns: Columns, shared: _Shared, rows: list[Row]
    ) -> tuple[Columns, tuple[list[Row], list[Row]]]:
        push = constants.leak.push(rows[0])
        driven = constants.leak.after(columns.potential - constants.bias, push)
        end = constants.bias + driven
        seen = eqx.combine(constants.rate, rest)(end)
        exponent = dt * (0.5 * (columns.seen + seen))
        columns, activity = _one_step(columns, exponent, shared, layout)
        return columns._replace(potential=end, seen=seen), ([activity], [end])

    scan = ColumnScan(
        body, layout.neurons_each, layout.warps, in_rows=isinstance(layout, InRows)
    )
    constants = _Constants(arrays, problem.population.bias, leak_of(neuron.tau_m, dt))
    shared = _shared(inputs, problem.schedule.dead, layout)
    current = inputs.current
    shape = (len(current), 1, current.shape[1])
    found = scan.has_kernel(
        constants,
        jax.eval_shape(lambda c: _filled(c, layout), columns),
        shared,
        jax.ShapeDtypeStruct(shape, current.dtype),
    )
    return BlockScan(scan, layout, constants, shared) if found else None


def _shared(inputs: StepInputs, dead: int, layout: BinLayout) -> _Shared:
    ratio, merge = inputs.age_ratio, inputs.merge
    assert ratio is not None
    return _Shared(
        ratio=layout.filled(ratio.at_lower, axis=1),  # pyright: ignore[reportArgumentType]
        increase=layout.filled(ratio.increase, axis=1),
        bound=ratio.bound,
        source=merge.source,
        target=merge.target,
        deviation=merge.deviation,
        distance=merge.distance,
        row=merge.step % dead if dead else None,
    )


def _filled(columns: Columns, layout: BinLayout) -> Columns:
    """With empty bins, as many as the layout needs."""
    return columns._replace(
        mass=layout.filled(columns.mass),
        upper_fraction=layout.filled(columns.upper_fraction),
        queue=layout.filled(columns.queue),
    )


def _one_step(
    columns: Columns, exponent: Row, shared: _Shared, layout: BinLayout
) -> tuple[Columns, Row]:
    """Some of the mass fires, all cohorts grow older, and two of them merge."""

    def survive(slot: Any, mass: Any, x: Any) -> Any:
        fired = mass * one_minus_exp_by_exp(x)
        left = survivors(mass, fired)
        merges = (slot == shared.source) | (slot == shared.target)
        return fired, left, jnp.where(merges, left, 0.0)

    def write(slot: Any, left: Any) -> Any:
        left = jnp.where(slot == shared.target, merged, left)
        return jnp.where(slot == shared.source, incoming, left)

    fraction, slots = columns.upper_fraction, layout.slots(columns.mass)
    ratio, increase = layout.column(shared.ratio), shared.increase
    x = layout.each(lambda ratio: exponent * ratio, ratio)
    if fraction is not None:
        increase = layout.column(increase)

        def with_excess(x: Any, increase: Any, fraction: Any) -> Any:
            return x + exponent * increase * fraction

        x = layout.each(with_excess, x, increase, fraction)
    fired, left, members = layout.each(survive, slots, columns.mass, x)
    activity, merged = layout.total(fired), layout.total(members)
    if fraction is not None:
        fraction = _fraction_after(
            fraction, increase, exponent, members, merged, shared, layout
        )
    queue, incoming = _queue_after(columns.queue, activity, shared, layout)
    mass = layout.each(write, slots, left)
    return columns._replace(mass=mass, upper_fraction=fraction, queue=queue), activity


def _fraction_after(
    fraction: Bins,
    increase: Bins | None,
    exponent: Row,
    members: Bins,
    merged: Row,
    shared: _Shared,
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
    queue: Bins | None, activity: Row, shared: _Shared, layout: BinLayout
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
