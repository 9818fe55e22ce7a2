"""The hazard of each cohort, at the two ages of its members."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
from jaxtyping import Array, Float

from ratelike._density._firing import AgeRatio, Hazard, SeparableHazard
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._state import Cohorts
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._ages import in_seconds
from ratelike._neuron._hazards import hazard, hazard_ratio, shared_factors

# Mean, and standard deviation, of the age index in each bin.
Ages = tuple[Float[Array, "*steps bins"], Float[Array, "*steps bins"]]


class StepInputs(eqx.Module):
    """What the hazard of one step depends on beside the density."""

    problem: RenewalProblem
    # f(hs) where the hazard is a function of the potential times one of age, hs elsewhere.
    acting: Float[Array, " neurons"]
    ages: Ages
    of_age: AgeRatio | None  # of a hazard of two factors


class RenewalTerm(diffrax.AbstractTerm):
    """The vector field is the hazard rho(t, a) in hertz in a step, whose `StepInputs` are the `args`; the control is time.

    The two do not multiply: `AgeShift` integrates the hazard over a step itself.
    """

    def vf(
        self, t, y: Cohorts, args: StepInputs | RenewalProblem
    ) -> Hazard | SeparableHazard:
        if isinstance(args, RenewalProblem):  # as diffrax asks for it, between steps
            args = _inputs_of_a_moment(y, args)
        if args.of_age is not None:
            return SeparableHazard(args.acting, args.of_age, y.elder)
        problem = args.problem
        neuron, dt = problem.layer.neuron, problem.dt

        def at(age, later):
            mark = y.mark
            if later is not None:
                mark = neuron.faded(mark, later[:, None] * dt)
            return hazard(neuron, args.acting, age[:, None], mark)

        at_both_ages = _at_both_ages(at, args.ages, problem)
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


def _at_both_ages(
    at: Callable[[Array, Array | None], Array], ages: Ages, problem: RenewalProblem
) -> tuple[Array, Array | None]:
    """`at(age, later)` at the younger age of each cohort, and its increase to the elder age.

    `at` is given an age in seconds and by how many steps later than the mean age that is, or None where cohorts have one age.
    """
    mean, deviation = ages

    def seconds(index):
        return in_seconds(problem.layer.neuron, index, problem.dt)

    if problem.schedule.num_levels == 1:
        return at(seconds(mean), None), None
    younger = at(seconds(mean - deviation), -deviation)
    return younger, at(seconds(mean + deviation), deviation) - younger


def acting_in_steps(
    neuron: AbstractNeuronModel, ends: Float[Array, "ends neurons"]
) -> Float[Array, "time neurons"]:
    """What acts in each step between the ends: f(hs), the mean of f at both, of a hazard of two factors; else hs."""
    seen = seen_by(neuron, ends)
    return acting_between(neuron, seen[:-1], seen[1:])


def seen_by(neuron: AbstractNeuronModel, potential: Float[Array, "..."]) -> Array:
    """Of a potential, what a step needs to know of its end: f(h) of a hazard of two factors, else h."""
    factors = shared_factors(neuron)
    return potential if factors is None else factors.rate(potential)


def acting_between(neuron: AbstractNeuronModel, before: Array, after: Array) -> Array:
    """What acts in the step between what is `seen_by` the neuron at both ends."""
    if shared_factors(neuron) is None:
        return neuron.potential_in_step(before, after)
    return 0.5 * (before + after)


def _inputs_of_a_moment(y: Cohorts, problem: RenewalProblem) -> StepInputs:
    """As in a step in which the potential stays."""
    acting = seen_by(problem.layer.neuron, y.potential)
    ages = y.age, y.deviation
    return StepInputs(problem, acting, ages, age_ratio(problem, ages))


def age_ratio(problem: RenewalProblem, ages: Ages) -> AgeRatio | None:
    """What a separable hazard takes from age in each step of a block; None of another hazard."""
    neuron = problem.layer.neuron
    factors = shared_factors(neuron)
    if factors is None:
        return None

    def at(age, later):
        return hazard_ratio(neuron, factors.ratio, age)

    return AgeRatio(*_at_both_ages(at, ages, problem))
