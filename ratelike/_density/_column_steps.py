"""Density and queue through a block of steps by the scan that is made for GPUs."""

import equinox as eqx
from jaxtyping import Array, Float

from ratelike._density._column_block import Columns, block_scan
from ratelike._density._column_step import Aged
from ratelike._density._refractory_queue import RefractoryQueue
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._renewal_term import StepInputs
from ratelike._density._state import CohortDensity


def steps_in_columns(
    density: CohortDensity,
    queue: RefractoryQueue | None,
    seen: Float[Array, " neurons"],
    inputs: StepInputs,
    problem: RenewalProblem,
) -> (
    tuple[
        CohortDensity,
        RefractoryQueue | None,
        Float[Array, "block neurons"],
        Float[Array, "block neurons"],
    ]
    | None
):
    """With the expected spikes of each step and the potentials at its end; None where there is no such scan."""
    columns = Columns(
        density.potential,
        seen,
        Aged(
            density.mass,
            density.upper_fraction,
            None if queue is None else queue.rows[0],
        ),
    )
    scan = block_scan(columns, inputs, problem)
    if scan is None:
        return None
    columns, activity, ends = scan(columns, inputs.current)
    aged = columns.aged
    if queue is not None and aged.queue is not None:
        first = aged.queue[(inputs.merge.step[-1] + 1) % len(queue.age)]
        rows = aged.queue, queue.rows[1]
        queue = RefractoryQueue(rows, queue.age, (first, queue.first[1]))
    density = eqx.tree_at(
        lambda d: (d.potential, d.mass, d.upper_fraction),
        density,
        (columns.potential, aged.mass, aged.upper_fraction),
        is_leaf=lambda leaf: leaf is None,
    )
    return density, queue, activity, ends
