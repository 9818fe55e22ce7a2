"""The exact scheme on the grid: react, then grow older along the characteristics of age."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer

from ratelike import _validation as validation
from ratelike._density._advance import advance
from ratelike._density._age_mesh import AgeMesh
from ratelike._density._firing import of_all_ages
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._density._renewal_term import RenewalTerm, age_ratio
from ratelike._density._state import Cohorts, RefractoryDensity
from ratelike._population import encode


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

    For a given input this is exactly the expectation of the discrete spiking neuron, at any dt; as dt -> 0 it converges
    with order 1 to the refractory-density equation d_t q + d_a q = -rho q. `activity` is r of the last step. The
    distribution is divided by its sum every few steps, so that rounding errors do not add up.

    `mesh` is an `AgeMesh`: `AgeMesh.uniform()`, the default, is the scheme above; `AgeMesh.graded()` merges bins of
    high age, five times cheaper at a relative error of 3 10^-4.

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
        return 1

    def init(self, terms, t0, t1, y0, args):
        # The number of the step, which float32 times of a long run do not tell.
        return jnp.zeros((), jnp.int32)

    def step(self, terms, t0, t1, y0: Cohorts, args, solver_state, made_jump):
        """One step of the solver is a block of steps of the grid."""
        block = args.path.shape[1]

        schedule, dt = args.schedule, args.dt
        steps = solver_state + jnp.arange(block, dtype=jnp.int32)
        dtype = y0.share.dtype

        def one_step(y, inputs):
            current, (age, deviation), of_age, event = inputs
            potential = y.potential
            now = eqx.tree_at(lambda a: a.of_age, args, of_age, is_leaf=_is_none)
            y = eqx.tree_at(lambda y: (y.age, y.deviation), y, (age, deviation))
            y, activity = advance(terms.vf(t0, y, now), y, event, current, args)
            kept = potential[:0] if args.recorded is None else potential[args.recorded]
            return y, (activity, kept)

        path = args.path[solver_state // block]
        currents = encode(path, args.inwards, args.layer.num_neurons)
        if y0.arriving is not None:
            currents = currents + y0.arriving[:block]
        # Reverse mode computes a step again rather than keep all that came up in it.
        ages, events = schedule.ages(steps, dtype), schedule.event(steps + 1, dtype)
        inputs = (currents, ages, age_ratio(args, ages), events)
        y1, (activity, past) = jax.lax.scan(
            jax.checkpoint(one_step, prevent_cse=False), _normalised(y0), inputs
        )
        step = solver_state + block
        y1 = _at_the_end(y1, schedule, step, activity, past)
        if args.loop is not None:
            arriving = args.loop.queue(y0.arriving, activity)
            y1 = eqx.tree_at(lambda y: y.arriving, y1, arriving)
        memory = schedule.memory
        dense_info = dict(y0=y0.density(memory, dt), y1=y1.density(memory, dt))
        return y1, None, dense_info, step, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


def _is_none(leaf: object) -> bool:
    return leaf is None


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
    y: Cohorts, schedule: MergeSchedule, step: Integer[Array, ""], activity, past
) -> Cohorts:
    """Of a block, with what is kept of it."""
    age, deviation = schedule.ages(step, y.share.dtype)
    y = eqx.tree_at(
        lambda y: (y.age, y.deviation, y.activity, y.past_potential),
        y,
        (age, deviation, activity, past),
    )
    if y.waiting is None:
        return y
    age = schedule.ages_of_dead(step, y.share.dtype)
    return eqx.tree_at(lambda y: y.waiting.age, y, age)
