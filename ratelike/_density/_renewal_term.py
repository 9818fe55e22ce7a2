"""The hazard of each cohort, at its two nodes of age."""

from collections.abc import Callable
from typing import NoReturn

import diffrax
import equinox as eqx
import jax
from jaxtyping import Array, Float

from ratelike._density._firing import AgeRatio, Hazard, SeparableHazard
from ratelike._density._merge_schedule import Merge
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._state import Ages, CohortDensity, GridState, Scalar
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._ages import in_seconds
from ratelike._neuron._hazards import hazard, hazard_ratio, shared_factors


class StepInputs(eqx.Module):
    """All that one step of the grid takes beside the density; for a block, a row for each of its steps."""

    current: Float[Array, "*steps neurons"]  # increments of the input current
    ages: Ages
    age_ratio: AgeRatio | None  # of a hazard of two factors
    merge: Merge


class RenewalTerm(diffrax.AbstractTerm):
    """The vector field is the hazard rho(t, a) in hertz; the control is time.

    The two do not multiply: `AgeShift` integrates the hazard over a step itself. What a step depends on beside time and
    density has no place in `vf`, which is all that diffrax hands on of a term; `AgeShift` calls `cohort_hazard`.
    """

    def vf(
        self, t: Scalar, y: GridState, args: RenewalProblem
    ) -> Hazard | SeparableHazard:
        """The hazard between two steps, as in a step in which the potential stays."""
        acting = seen_by(args.population.neuron, y.density.potential)
        return cohort_hazard(y.density, acting, y.ages, age_ratio(args, y.ages), args)

    def contr(self, t0: Scalar, t1: Scalar, **kwargs: object) -> Scalar:
        return t1 - t0

    def prod(self, vf: Hazard | SeparableHazard, control: Scalar) -> NoReturn:
        raise NotImplementedError(
            "RenewalTerm is solved by ratelike.AgeShift, other solvers take the method of lines"
        )


def cohort_hazard(
    density: CohortDensity,
    acting: Float[Array, " neurons"],
    ages: Ages,
    age_ratio: AgeRatio | None,
    problem: RenewalProblem,
) -> Hazard | SeparableHazard:
    """`acting` is f(hs) where the hazard is a function of the potential times one of age, hs elsewhere."""
    if age_ratio is not None:
        return SeparableHazard(acting, age_ratio, density.upper_fraction)
    neuron, dt = problem.population.neuron, problem.dt

    def at(age: Array, later: Array | None) -> Array:
        mark = density.mark
        if later is not None:
            mark = neuron.faded(mark, later[:, None] * dt)
        return hazard(neuron, acting, age[:, None], mark)

    at_both_nodes = _at_both_nodes(at, ages, problem)
    if density.upper_fraction is not None:
        # Computed once for all uses, which would else be rounded differently.
        at_both_nodes = jax.lax.optimization_barrier(at_both_nodes)
    at_lower, increase = at_both_nodes
    return Hazard(at_lower, increase, density.upper_fraction)


def _at_both_nodes(
    at: Callable[[Array, Array | None], Array], ages: Ages, problem: RenewalProblem
) -> tuple[Array, Array | None]:
    """`at(age, later)` at the lower node of age of each cohort, and its increase to the upper node."""
    # `later` says by how many steps the node is above the mean age; None where cohorts have one age.
    mean, deviation = ages

    def seconds(index: Array) -> Array:
        return in_seconds(problem.population.neuron, index, problem.dt)

    if problem.schedule.num_levels == 1:
        return at(seconds(mean), None), None
    at_lower = at(seconds(mean - deviation), -deviation)
    return at_lower, at(seconds(mean + deviation), deviation) - at_lower


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


def age_ratio(problem: RenewalProblem, ages: Ages) -> AgeRatio | None:
    """What a separable hazard takes from age in each step of a block; None of another hazard."""
    neuron = problem.population.neuron
    factors = shared_factors(neuron)
    if factors is None:
        return None

    def at(age: Array, later: Array | None) -> Array:
        return hazard_ratio(neuron, factors.ratio, age)

    return AgeRatio(*_at_both_nodes(at, ages, problem))
