"""The hazard of each cohort, at the two ages of its members."""

from collections.abc import Callable
from typing import TypeGuard

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._firing import AgeRatio, Hazard, SeparableHazard
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._state import Cohorts
from ratelike._neuron import SRM0, AbstractNeuron
from ratelike._neuron._history import faded
from ratelike._renewal import hazard, hazard_ratio


class RenewalTerm(diffrax.AbstractTerm):
    """The vector field is the hazard rho(t, a) in hertz, the control is time.

    The two do not multiply: `AgeShift` integrates the hazard over a step itself.
    """

    def vf(self, t, y: Cohorts, args: RenewalProblem) -> Hazard | SeparableHazard:
        neuron = args.layer.neuron
        if args.of_age is not None:
            assert isinstance(neuron, SRM0)
            return SeparableHazard(neuron.escape(y.potential), args.of_age, y.elder)

        def at(age, later):
            mark = y.mark
            if later is not None:
                mark = faded(neuron, mark, later[:, None])
            return hazard(neuron, y.potential, age[:, None], mark)

        ages = y.age, y.deviation
        at_both_ages = _at_both_ages(at, ages, args.schedule, args.dt)
        if y.elder is not None:
            # Computed once for all uses, which would else be rounded differently.
            at_both_ages = jax.lax.optimization_barrier(at_both_ages)
        younger, increase = at_both_ages
        return Hazard(younger, increase, y.elder)

    def contr(self, t0, t1, **kwargs):
        return t1 - t0

    def prod(self, vf, control):
        raise NotImplementedError(
            "RenewalTerm is solved by ratelike.AgeShift, other solvers take the method of lines"
        )


# Mean age and standard deviation of the ages in each bin, in steps.
Ages = tuple[Float[Array, "*steps bins"], Float[Array, "*steps bins"]]


def _at_both_ages(
    at: Callable[[Array, Array | None], Array],
    ages: Ages,
    schedule: MergeSchedule,
    dt: float,
) -> tuple[Array, Array | None]:
    """`at(age, later)` at the younger age of each cohort, and its increase to the elder age.

    `at` is given an age in seconds and by how much later than the mean age that is, or None where cohorts have one age.
    """
    mean, deviation = ages

    def seconds(age):
        return jnp.minimum(age, schedule.memory) * dt

    if schedule.num_levels == 1:
        return at(seconds(mean), None), None
    later = deviation * dt
    younger = at(seconds(mean - deviation), -later)
    return younger, at(seconds(mean + deviation), later) - younger


def is_separable(neuron: AbstractNeuron) -> TypeGuard[SRM0]:
    """Whether the hazard is a function of the potential times one of age."""
    return isinstance(neuron, SRM0) and neuron.is_separable


def age_ratio(problem: RenewalProblem, ages: Ages) -> AgeRatio | None:
    """What a separable hazard takes from age in each step of a block; None of another hazard."""
    neuron = problem.layer.neuron
    if not is_separable(neuron):
        return None

    def at(age, later):
        return hazard_ratio(neuron, age)

    return AgeRatio(*_at_both_ages(at, ages, problem.schedule, problem.dt))
