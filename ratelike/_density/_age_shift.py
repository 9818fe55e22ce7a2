"""The exact scheme on the grid: react, then grow older along the characteristics of age."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._density._advance import advance
from ratelike._density._age_mesh import AgeMesh
from ratelike._density._firing import of_all_ages
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._renewal_term import (
    RenewalTerm,
    StepInputs,
    acting_between,
    age_ratio,
    seen_by,
)
from ratelike._density._state import Cohorts, RefractoryDensity
from ratelike._neuron import chosen_neurons, potential_in_step
from ratelike._signal._membrane import leak_of


class _BetweenSteps(diffrax.AbstractLocalInterpolation):
    """A weighted mean of both ends: exact at the ends, and of probabilities again probabilities."""

    t0: Any  # diffrax declares both as class variables, of any scalar type
    t1: Any
    y0: RefractoryDensity
    y1: RefractoryDensity

    def evaluate(self, t0, t1=None, left=True):
        if t1 is not None:
            raise NotImplementedError("a density is evaluated at one time")
        weight = (t0 - self.t0) / (self.t1 - self.t0)
        return jax.tree.map(
            lambda before, after: ((1.0 - weight) * before + weight * after).astype(
                after.dtype
            ),
            self.y0,
            self.y1,
        )


class AgeShift(diffrax.AbstractSolver):
    r"""Moves the age distribution P_k of each neuron by one step of the grid, with the neuron's own p_k:

        r = sum_k p_k P_k,   P'_0 = r,   P'_{k+1} = (1 - p_k) P_k,   P'_K = (1 - p_{K-1}) P_{K-1} + (1 - p_K) P_K.

    k = 0 is the age dt, in the step after a spike. For a given input this is exactly the expectation of the discrete spiking
    neuron, at any dt; as dt -> 0 it converges with order 2, for smooth input, to the refractory-density equation
    d_t q + d_a q = -rho q (of neurons without memory with order 1: they fire at most once in a step). `activity` is r of the last step. The
    distribution is divided by its sum every few steps, so that rounding errors do not add up.

    `mesh` is an `AgeMesh`: `AgeMesh.uniform()`, the default, is the scheme above; `AgeMesh.fitted()` and
    `AgeMesh.graded()` merge bins of high age, two to nine times cheaper (`benchmarks/README.md`).

    *Neuronal Dynamics*, chapter 14; Gerstner, Neural Comput. 12, 43 (2000), for the population equations. Works on the
    grid only; `GeneralisedRate` sees to that.
    """

    mesh: AgeMesh
    term_structure: ClassVar = RenewalTerm
    interpolation_cls: ClassVar[Callable[..., _BetweenSteps]] = _BetweenSteps

    def __init__(self, mesh: AgeMesh | None = None):
        self.mesh = AgeMesh.uniform() if mesh is None else mesh
        validation.instance("AgeShift.mesh", self.mesh, AgeMesh)

    def order(self, terms):
        return 2

    def init(self, terms, t0, t1, y0, args):
        # The number of the step, which float32 times of a long run do not tell.
        return jnp.zeros((), jnp.int32)

    def step(self, terms, t0, t1, y0: Cohorts, args, solver_state, made_jump):
        """One step of the solver is a block of steps of the grid."""
        block, schedule, layer = args.path.shape[1], args.schedule, args.layer
        steps = solver_state + jnp.arange(block, dtype=jnp.int32)
        dtype = y0.share.dtype

        def one_step(carry, inputs):
            y, before = carry
            current, ages, of_age, event = inputs
            start, leak = y.potential, leak_of(layer.neuron.tau_m, args.dt)
            end = layer.bias + leak.after(start - layer.bias, leak.push(current))
            after = seen_by(layer.neuron, end)
            acting = acting_between(layer.neuron, before, after)
            rho = terms.vf(t0, y, StepInputs(args, acting, ages, of_age))
            y, activity = advance(rho, y, event, acting, args)
            y = eqx.tree_at(lambda y: y.potential, y, end)
            return (y, after), (activity, _recorded(args, start, end))

        currents = _currents(y0, args, args.path[solver_state // block])
        ages, events = schedule.ages(steps, dtype), schedule.event(steps + 1, dtype)
        start = _normalised(y0), seen_by(layer.neuron, y0.potential)
        # Reverse mode computes a step again rather than keep all that came up in it.
        (y1, _), (activity, acted) = jax.lax.scan(
            jax.checkpoint(one_step, prevent_cse=False),
            start,
            (currents, ages, age_ratio(args, ages), events),
        )
        step = solver_state + block
        y1 = _at_the_end(y1, args, step, activity, acted)
        dense_info = dict(y0=y0.density(args), y1=y1.density(args))
        return y1, None, dense_info, step, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


def _currents(
    y: Cohorts, args: RenewalProblem, path: Float[Array, "block *tiles latents"]
) -> Float[Array, "block neurons"]:
    currents = args.layer.currents(path)
    if y.arriving is None:
        return currents
    return currents + y.arriving[: len(path)]


def _recorded(
    args: RenewalProblem, start: Float[Array, " neurons"], end: Float[Array, " neurons"]
) -> Float[Array, " recorded"]:
    """The potential that acts in a step, of recorded neurons."""
    if args.recorded is None:
        return start[:0]
    neuron = chosen_neurons(args.layer.neuron, args.recorded)
    return potential_in_step(neuron, start[args.recorded], end[args.recorded])


def _normalised(y: Cohorts) -> Cohorts:
    if y.waiting is None:
        return eqx.tree_at(lambda y: y.share, y, y.share / of_all_ages(y.share))
    waiting, _ = y.waiting.rows
    total = of_all_ages(y.share) + of_all_ages(waiting)
    return eqx.tree_at(
        lambda y: (y.share, y.waiting.rows[0], y.waiting.first[0]),
        y,
        replace_fn=lambda share: share / total,
    )


def _at_the_end(
    y: Cohorts,
    args: RenewalProblem,
    step: Integer[Array, ""],
    activity: Float[Array, "block neurons"],
    acted: Float[Array, "block recorded"],
) -> Cohorts:
    """Of a block, with what is kept of it."""
    arriving = y.arriving
    recurrence = args.layer.recurrence
    if recurrence is not None and arriving is not None:
        arriving = recurrence.queue(arriving, activity)
    age, deviation = args.schedule.ages(step, y.share.dtype)
    waiting = y.waiting
    if waiting is not None:
        dead = args.schedule.ages_of_dead(step, y.share.dtype)
        waiting = eqx.tree_at(lambda w: w.age, waiting, dead)
    return Cohorts(
        potential=y.potential,
        share=y.share,
        age=age,
        deviation=deviation,
        elder=y.elder,
        mark=y.mark,
        waiting=waiting,
        trace=y.trace,
        activity=activity,
        acted=acted,
        arriving=arriving,
    )
