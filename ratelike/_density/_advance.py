"""One step of the grid: some fire, and all cohorts grow older."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from ratelike._density._elder import merge_both
from ratelike._density._firing import (
    Hazard,
    SeparableHazard,
    firing,
    increase,
    of_all_ages,
)
from ratelike._density._merge_schedule import Event
from ratelike._density._merging import (
    left_in,
    mean_of_members,
    merge,
    survivors,
    write,
)
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._state import Cohorts

Marks = PyTree[Float[Array, "bins neurons"]]


def advance(
    rho: Hazard | SeparableHazard,
    y: Cohorts,
    event: Event,
    acting: Float[Array, " neurons"],
    args: RenewalProblem,
) -> tuple[Cohorts, Float[Array, " neurons"]]:
    """The cohorts after a step with the hazard `rho`, and who fired in it. A neuron with marks is given the potential `acting`."""
    neuron, dt = args.layer.neuron, args.dt
    fired = firing(y.share, rho, dt)
    activity = of_all_ages(fired)
    new_mark, trace = neuron.newborn(acting, y.trace, activity, dt)
    incoming, waiting = (activity, new_mark), y.waiting
    if waiting is not None:
        waiting, incoming = waiting.next(
            event.step, incoming, lambda mark: neuron.faded(mark, dt)
        )
    difference = None if y.elder is None else increase(rho, dt)
    mark = neuron.faded(y.mark, dt)
    share, elder, mark = _merged(y, fired, incoming, difference, mark, event)
    new = eqx.tree_at(
        lambda y: (y.share, y.elder, y.mark, y.waiting, y.trace),
        y,
        (share, elder, mark, waiting, trace),
        is_leaf=lambda leaf: leaf is None,
    )
    return new, activity


def _merged(y: Cohorts, fired, incoming, difference, mark: Marks, event: Event):
    """Shares, parts of elders and marks, with those that come to the bins."""
    newcomers, new_mark = incoming
    if len(y.share) == 1:
        share = survivors(y.share, fired) + newcomers
        return share, y.elder, _joined(share, newcomers, new_mark, mark)
    mark = _merged_marks(y.share, fired, new_mark, mark, event)
    if y.elder is None:
        return merge(y.share, fired, newcomers, event), None, mark
    share, elder = merge_both(y.share, fired, newcomers, y.elder, difference, event)
    return share, elder, mark


def _joined(share, newborn, newborn_mark, old_mark: Marks) -> Marks:
    """Mean marks of the one bin of a neuron without memory."""
    part = newborn / share  # which is 1, but for rounding
    return jax.tree.map(
        lambda new, old: part * new + (1.0 - part) * old, newborn_mark, old_mark
    )


def _merged_marks(share, fired, incoming_mark, old_mark: Marks, event: Event) -> Marks:
    """Mean marks of the cohorts, two of which become one."""
    slots, members = (event.younger, event.elder), left_in(share, fired, event)

    def merge_mark(new, old):
        mean = mean_of_members([old[slot] for slot in slots], members)
        return write(old, event, mean, new)

    return jax.tree.map(merge_mark, incoming_mark, old_mark)
