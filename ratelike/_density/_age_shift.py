"""The exact scheme on the grid: the density fires, then grows older along the characteristics of age."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ratelike import _validation as validation
from ratelike._density._advance import advance
from ratelike._density._age_mesh import AgeMesh
from ratelike._density._column_steps import steps_in_columns
from ratelike._density._firing import Hazard, SeparableHazard, sum_over_ages
from ratelike._density._refractory_queue import RefractoryQueue
from ratelike._density._renewal_problem import RenewalProblem, refractory_density
from ratelike._density._renewal_term import (
    RenewalTerm,
    StepInputs,
    acting_between,
    age_ratio,
    cohort_hazard,
    seen_by,
)
from ratelike._density._state import (
    BlockOutput,
    CohortDensity,
    GridState,
    RefractoryDensity,
    Scalar,
)
from ratelike._neuron import chosen_neurons
from ratelike._numerics import _platform as platform
from ratelike._signal._membrane import leak_of


class _BetweenSteps(diffrax.AbstractLocalInterpolation):
    """A weighted mean of both ends: exact at the ends, and of probabilities again probabilities."""

    t0: Any  # diffrax declares both as class variables, of any scalar type
    t1: Any
    y0: RefractoryDensity
    y1: RefractoryDensity

    def evaluate(
        self, t0: Scalar, t1: Scalar | None = None, left: bool = True
    ) -> RefractoryDensity:
        if t1 is not None:
            raise NotImplementedError("a density is evaluated at one time")
        weight = (t0 - self.t0) / (self.t1 - self.t0)

        def mean(before: Array, after: Array) -> Array:
            return ((1.0 - weight) * before + weight * after).astype(after.dtype)

        return jax.tree.map(mean, self.y0, self.y1)


class AgeShift(diffrax.AbstractSolver[Any]):
    r"""Moves the age distribution P_k of each neuron by one step of the grid, with the neuron's own p_k:

        r = sum_k p_k P_k,   P'_0 = r,   P'_{k+1} = (1 - p_k) P_k,   P'_K = (1 - p_{K-1}) P_{K-1} + (1 - p_K) P_K.

    k = 0 is the age dt, in the step after a spike. For a given input this is exactly the expectation of the discrete spiking
    neuron, at any dt; as dt -> 0 it converges with order 2, for smooth input, to the refractory-density equation
    d_t q + d_a q = -rho q (of neurons without memory with order 1: they fire at most once in a step). `activity` is r of the last step. The
    distribution is divided by its sum every few steps, so that rounding errors do not add up.

    `mesh` is an `AgeMesh`: `AgeMesh.uniform()`, the default, is the scheme above; `fitted_age_mesh` and
    `AgeMesh.graded` merge bins of high age, two to nine times cheaper (`benchmarks/README.md`).

    *Neuronal Dynamics*, chapter 14; Gerstner, Neural Comput. 12, 43 (2000), for the population equations. Works on the
    grid only; `GeneralisedRate` sees to that.
    """

    mesh: AgeMesh
    term_structure: ClassVar[Any] = RenewalTerm
    interpolation_cls: ClassVar[Callable[..., _BetweenSteps]] = _BetweenSteps

    def __init__(self, mesh: AgeMesh | None = None) -> None:
        self.mesh = AgeMesh.uniform() if mesh is None else mesh
        validation.instance("AgeShift.mesh", self.mesh, AgeMesh)

    def order(self, terms: diffrax.AbstractTerm) -> int:
        return 2

    def init(
        self,
        terms: diffrax.AbstractTerm,
        t0: Scalar,
        t1: Scalar,
        y0: GridState,
        args: RenewalProblem,
    ) -> Integer[Array, ""]:
        """The number of the step, which float32 times of a long run do not tell."""
        return jnp.zeros((), jnp.int32)

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: Scalar,
        t1: Scalar,
        y0: GridState,
        args: RenewalProblem,
        solver_state: Integer[Array, ""],
        made_jump: bool | Bool[Array | np.ndarray, ""],
    ) -> tuple[
        GridState,
        None,
        dict[str, RefractoryDensity],
        Integer[Array, ""],
        diffrax.RESULTS,
    ]:
        """One step of the solver is a block of steps of the grid."""
        block, dtype = args.path.shape[1], y0.density.mass.dtype
        steps = solver_state + jnp.arange(block, dtype=jnp.int32)
        ages = args.schedule.ages(steps, dtype)
        inputs = StepInputs(
            current=_currents(y0, args, args.path[solver_state // block]),
            ages=ages,
            age_ratio=age_ratio(args, ages),
            merge=args.schedule.merge(steps + 1, dtype),
        )
        density, queue, activity, acted = _block_of_steps(y0, inputs, args)
        step, under_way = solver_state + block, y0.output.under_way
        recurrence = args.population.recurrence
        if recurrence is not None and under_way is not None:
            under_way = recurrence.after(under_way, activity, args.dt)
        if queue is not None:
            age = args.schedule.ages_in_queue(step, dtype)
            queue = RefractoryQueue(queue.rows, age, queue.first)
        output = BlockOutput(activity, acted, under_way)
        y1 = GridState(density, queue, args.schedule.ages(step, dtype), output)
        ends = dict(y0=refractory_density(y0, args), y1=refractory_density(y1, args))
        return y1, None, ends, step, diffrax.RESULTS.successful

    def func(
        self,
        terms: diffrax.AbstractTerm,
        t0: Scalar,
        y0: GridState,
        args: RenewalProblem,
    ) -> Hazard | SeparableHazard:
        return terms.vf(t0, y0, args)


def _block_of_steps(
    y: GridState, inputs: StepInputs, args: RenewalProblem
) -> tuple[
    CohortDensity,
    RefractoryQueue | None,
    Float[Array, "block neurons"],
    Float[Array, "block recorded"],
]:
    """Density and queue after all steps; the expected spikes and the recorded potentials of each."""
    population = args.population

    def one_step(carry: tuple, inputs: StepInputs) -> tuple[tuple, tuple]:
        density, queue, before = carry
        start, leak = density.potential, leak_of(population.neuron.tau_m, args.dt)
        push = leak.push(inputs.current)
        end = population.bias + leak.after(start - population.bias, push)
        after = seen_by(population.neuron, end)
        acting = acting_between(population.neuron, before, after)
        rho = cohort_hazard(density, acting, inputs.ages, inputs.age_ratio, args)
        density, queue, activity = advance(
            rho, density, queue, inputs.merge, (acting, end), args
        )
        return (density, queue, after), (activity, _recorded(args, start, end))

    before = seen_by(population.neuron, y.density.potential)
    density, queue = _normalised(y.density, y.queue)
    if platform.has_gpu():
        found = steps_in_columns(density, queue, before, inputs, args)
        if found is not None:
            after, queue, activity, ends = found
            starts = jnp.concatenate([density.potential[None], ends[:-1]])
            acted = jax.vmap(functools.partial(_recorded, args))(starts, ends)
            return after, queue, activity, acted
    # Reverse mode computes a step again rather than keep all that came up in it.
    (density, queue, _), (activity, acted) = jax.lax.scan(
        jax.checkpoint(one_step, prevent_cse=False), (density, queue, before), inputs
    )
    return density, queue, activity, acted


def _currents(
    y: GridState, args: RenewalProblem, path: Float[Array, "block *tiles latents"]
) -> Float[Array, "block neurons"]:
    currents = args.population.currents(path)
    recurrence, under_way = args.population.recurrence, y.output.under_way
    if recurrence is None or under_way is None:
        return currents
    return currents + recurrence.arriving(under_way, len(path))


def _recorded(
    args: RenewalProblem, start: Float[Array, " neurons"], end: Float[Array, " neurons"]
) -> Float[Array, " recorded"]:
    """The potential that acts in a step, of recorded neurons."""
    if args.recorded is None:
        return start[:0]
    neuron = chosen_neurons(args.population.neuron, args.recorded)
    return neuron.potential_in_step(start[args.recorded], end[args.recorded])


def _normalised(
    density: CohortDensity, queue: RefractoryQueue | None
) -> tuple[CohortDensity, RefractoryQueue | None]:
    """All masses divided by their sum."""
    total = sum_over_ages(density.mass)
    if queue is not None:
        total = total + sum_over_ages(queue.rows[0])
    return eqx.tree_at(
        lambda state: (
            [state[0].mass]
            + ([] if queue is None else [state[1].rows[0], state[1].first[0]])
        ),
        (density, queue),
        replace_fn=lambda mass: mass / total,
    )
