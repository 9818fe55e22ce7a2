"""The exact scheme on the grid: the density fires, then grows older along the characteristics of age."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Integer

from ratelike import _validation as validation
from ratelike._density._age_mesh import AgeMesh
from ratelike._density._block_steps import block_of_steps, currents_of_block
from ratelike._density._firing import Hazard, SeparableHazard
from ratelike._density._refractory_queue import RefractoryQueue
from ratelike._density._renewal_problem import RenewalProblem, refractory_density
from ratelike._density._renewal_term import (
    RenewalTerm,
    StepInputs,
    age_ratio,
)
from ratelike._density._state import (
    BlockOutput,
    GridState,
    RefractoryDensity,
    Scalar,
)


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
        if args.piece is None:
            return jnp.zeros((), jnp.int32)
        return args.piece.shared.step - args.piece.first(args.path.shape[1])

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
        part, first = None, jnp.zeros((), jnp.int32)
        if args.piece is not None:
            part = args.piece.part(solver_state, block)
            first = args.piece.shared.step // block
        path = args.path[solver_state // block - first]
        inputs = StepInputs(
            current=currents_of_block(y0, args, path, part),
            ages=ages,
            age_ratio=age_ratio(args, ages),
            merge=args.schedule.merge(steps + 1, dtype),
        )
        density, queue, activity, acted = block_of_steps(y0, inputs, args, part)
        step, under_way = solver_state + block, y0.output.under_way
        recurrence = args.population.recurrence
        if recurrence is not None and under_way is not None:
            under_way = recurrence.after(under_way, activity, args.dt, part)
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
