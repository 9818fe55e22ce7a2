"""A block of steps of the density as a scan in which every neuron goes its own way."""

from typing import NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ratelike._density._bin_layout import BinLayout, InRows, layout_of
from ratelike._density._column_step import (
    Aged,
    Row,
    Shared,
    one_step,
    shared_in_steps,
)
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._renewal_term import StepInputs
from ratelike._neuron._hazards import shared_factors
from ratelike._numerics._column_scan import Body, ColumnScan
from ratelike._signal._membrane import Leak, leak_of
from ratelike._types import PyTree


class Columns(NamedTuple):
    """What each neuron carries from step to step."""

    potential: Row
    seen: Row  # f(h)
    aged: Aged


class _Constants(NamedTuple):
    rate: PyTree[Array]  # the arrays of f
    bias: Row
    leak: Leak


class BlockScan(NamedTuple):
    """A scan that is known to have a kernel."""

    scan: ColumnScan
    layout: BinLayout
    constants: _Constants
    shared: Shared

    def __call__(
        self, columns: Columns, current: Float[Array, "block neurons"]
    ) -> tuple[Columns, Float[Array, "block neurons"], Float[Array, "block neurons"]]:
        """After all steps; the expected spikes in each, and the potential at its end."""
        filled = columns._replace(aged=columns.aged.filled(self.layout))
        after, (activity, potential), _ = self.scan(
            self.constants, filled, self.shared, current
        )

        def as_before(after: Array, before: Array) -> Array:
            return after[: len(before)]

        # Rows over neurons lose nothing.
        return jax.tree.map(as_before, after, columns), activity, potential


def block_scan(
    columns: Columns, inputs: StepInputs, problem: RenewalProblem
) -> BlockScan | None:
    """None where there is no kernel: for a hazard of another form, and for one age or very many."""
    neuron, dt = problem.population.neuron, problem.dt
    factors, ratio = shared_factors(neuron), inputs.age_ratio
    layout = layout_of(len(columns.aged.mass))
    if factors is None or ratio is None or layout is None:
        return None
    arrays, rest = eqx.partition(factors.rate, eqx.is_array)

    def body(
        constants: _Constants, columns: Columns, shared: Shared, current: Row
    ) -> tuple[Columns, tuple[Row, Row], None]:
        push = constants.leak.push(current)
        driven = constants.leak.after(columns.potential - constants.bias, push)
        end = constants.bias + driven
        seen = eqx.combine(constants.rate, rest)(end)
        exponent = dt * (0.5 * (columns.seen + seen))
        aged, activity = one_step(columns.aged, exponent, shared, layout)
        return Columns(end, seen, aged), (activity, end), None

    scan = column_scan(body, layout)
    constants = _Constants(arrays, problem.population.bias, leak_of(neuron.tau_m, dt))
    shared = shared_in_steps(ratio, inputs.merge, problem.schedule.dead, layout)
    filled = columns._replace(
        aged=jax.eval_shape(lambda x: x.filled(layout), columns.aged)
    )
    if not scan.has_kernel(constants, filled, shared, inputs.current):
        return None
    return BlockScan(scan, layout, constants, shared)


def column_scan(
    body: Body, layout: BinLayout, *, is_reversed: bool = False
) -> ColumnScan:
    return ColumnScan(
        body,
        layout.neurons_each,
        layout.warps,
        in_rows=isinstance(layout, InRows),
        is_reversed=is_reversed,
    )
