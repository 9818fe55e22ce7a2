"""One step of the grid: a part of the mass fires, and all cohorts grow older."""

import jax
from jaxtyping import Array, Float

from ratelike._density._firing import (
    Hazard,
    SeparableHazard,
    exponent_increase,
    fired_mass,
    sum_over_ages,
)
from ratelike._density._merge_schedule import Merge
from ratelike._density._merging import (
    mass_after_step,
    mean_of_members,
    merging_survivors,
    survivors,
    write,
)
from ratelike._density._refractory_queue import RefractoryQueue
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._state import CohortDensity
from ratelike._density._upper_fraction import mass_and_fraction_after_step
from ratelike._types import PyTree

Bins = Float[Array, "bins neurons"]
Marks = PyTree[Float[Array, "bins neurons"]]


def advance(
    rho: Hazard | SeparableHazard,
    density: CohortDensity,
    queue: RefractoryQueue | None,
    merge: Merge,
    potentials: tuple[Float[Array, " neurons"], Float[Array, " neurons"]],
    args: RenewalProblem,
) -> tuple[CohortDensity, RefractoryQueue | None, Float[Array, " neurons"]]:
    """Density and queue after a step with the hazard `rho`, and the expected spikes in it.

    `potentials` are the one that acts in the step, which marks are made of, and the one at its end.
    """
    neuron, dt = args.population.neuron, args.dt
    acting, end = potentials
    fired = fired_mass(density.mass, rho, dt)
    activity = sum_over_ages(fired)
    new_mark, trace = neuron.newborn(acting, density.trace, activity, dt)
    incoming = (activity, new_mark)
    if queue is not None:
        queue, incoming = queue.advance(
            merge.step, incoming, lambda mark: neuron.faded(mark, dt)
        )
    mark = neuron.faded(density.mark, dt)
    fraction, increase = density.upper_fraction, None
    if fraction is not None:
        increase = exponent_increase(rho, dt)
    entering, new_mark = incoming
    if len(fired) == 1:
        mass = survivors(density.mass, fired) + entering
        mark = _joined_marks(mass, entering, new_mark, mark)
    else:
        mark = _merged_marks(density.mass, fired, new_mark, mark, merge)
        if fraction is None or increase is None:
            mass = mass_after_step(density.mass, fired, entering, merge)
        else:
            mass, fraction = mass_and_fraction_after_step(
                density.mass, fired, entering, fraction, increase, merge
            )
    return CohortDensity(end, mass, fraction, mark, trace), queue, activity


def _joined_marks(
    mass: Bins, entering: Float[Array, " neurons"], new_mark: PyTree, old_mark: Marks
) -> Marks:
    """Mean marks of the one bin of a neuron without memory."""
    part = entering / mass  # which is 1, but for rounding
    return jax.tree.map(
        lambda new, old: part * new + (1.0 - part) * old, new_mark, old_mark
    )


def _merged_marks(
    mass: Bins, fired: Bins, entering_mark: PyTree, old_mark: Marks, merge: Merge
) -> Marks:
    """Mean marks of the cohorts after their merge."""
    slots, members = (
        (merge.source, merge.target),
        merging_survivors(mass, fired, merge),
    )

    def merge_mark(new: Array, old: Array) -> Array:
        mean = mean_of_members([old[slot] for slot in slots], members)
        return write(old, merge, mean, new)

    return jax.tree.map(merge_mark, entering_mark, old_mark)
