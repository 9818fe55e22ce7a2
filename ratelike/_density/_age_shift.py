"""The exact scheme on the grid: react, then grow older along the characteristics of age."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeGuard

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree

from ratelike import _validation as validation
from ratelike._density._age_mesh import AgeMesh
from ratelike._density._elder import merge_both
from ratelike._density._firing import (
    AgeRatio,
    Hazard,
    SeparableHazard,
    firing,
    increase,
    of_all_ages,
)
from ratelike._density._merge_schedule import Event, MergeSchedule
from ratelike._density._merging import (
    left_in,
    mean_of_members,
    merge,
    survivors,
    write,
)
from ratelike._density._state import Cohorts, RefractoryDensity
from ratelike._loop import Loop, loop_of
from ratelike._membrane import decay_factor, input_factor
from ratelike._network import Layer
from ratelike._neuron import SRM0, AbstractNeuron
from ratelike._neuron._history import faded, newborn, no_trace
from ratelike._population import directions, encode
from ratelike._renewal import hazard, hazard_ratio, memory_steps


class RenewalTerm(diffrax.AbstractTerm):
    """The vector field is the hazard rho(t, a) in hertz, the control is time.

    The two do not multiply: `AgeShift` integrates the hazard over a step itself.
    """

    def vf(self, t, y: Cohorts, args: "RenewalProblem") -> Hazard | SeparableHazard:
        neuron = args.layer.neuron
        if args.of_age is not None:
            assert isinstance(neuron, SRM0)
            return SeparableHazard(neuron.escape(y.potential), args.of_age, y.elder)

        def at(age, later):
            mark = y.mark if later is None else faded(neuron, y.mark, later)
            return hazard(neuron, y.potential, age[:, None], mark)

        at_both_ages = _at_both_ages(at, y.age, args.schedule, args.dt)
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
    at: Callable[[Array, Array | None], Array],
    age: Float[Array, "*steps bins"],
    schedule: MergeSchedule,
    dt: float,
) -> tuple[Array, Array | None]:
    """`at(age, later)` at the younger age of each cohort, and its increase to the elder age, for ages in steps.

    `at` is given an age in seconds and by how much later than the mean age that is, or None where cohorts have one age.
    """

    def seconds(age):
        return jnp.minimum(age, schedule.memory) * dt

    if schedule.num_levels == 1:
        return at(seconds(age), None), None
    spread = jnp.asarray(schedule.spreads(), age.dtype)
    later = spread[:, None] * dt
    younger = at(seconds(age - spread), -later)
    return younger, at(seconds(age + spread), later) - younger


def is_separable(neuron: AbstractNeuron) -> TypeGuard[SRM0]:
    """Whether the hazard is a function of the potential times one of age."""
    return isinstance(neuron, SRM0) and neuron.is_separable


def age_ratio(
    problem: "RenewalProblem", ages: Float[Array, "block bins"]
) -> AgeRatio | None:
    """What a separable hazard takes from age in each step of a block; None of another hazard."""
    neuron = problem.layer.neuron
    if not is_separable(neuron):
        return None

    def at(age, later):
        return hazard_ratio(neuron, age)

    return AgeRatio(*_at_both_ages(at, ages, problem.schedule, problem.dt))


class RenewalProblem(eqx.Module):
    """What the vector field and the solver need to know: the `args` of the solve."""

    layer: Layer
    schedule: MergeSchedule
    dt: float = eqx.field(static=True)  # s
    path: Float[Array, "blocks block *tiles latents"]  # increments of the incoming path
    inwards: Float[Array, "tiles latents tile"]
    decoder: Float[Array, "tiles tile decoded"]
    recorded: Integer[Array, " recorded"] | None
    loop: Loop | None
    of_age: AgeRatio | None = None  # in the present step, if the hazard is separable


def initial_cohorts(problem: RenewalProblem) -> Cohorts:
    """All neurons at rest and as if they had never fired: in the last bin."""
    layer, schedule = problem.layer, problem.schedule
    neurons = layer.bias.shape[0]
    block = problem.path.shape[1]
    empty = jnp.zeros((schedule.num_bins, neurons), layer.bias.dtype)
    recorded = 0 if problem.recorded is None else len(problem.recorded)
    return Cohorts(
        potential=layer.bias,
        share=empty.at[-1].set(1.0),
        age=schedule.ages(jnp.int32(0), layer.bias.dtype),
        elder=None if schedule.num_levels == 1 else jnp.full_like(empty, 0.5),
        mark=jax.tree.map(
            lambda mark: jnp.broadcast_to(mark, empty.shape),
            layer.neuron.mark(layer.bias),
        ),
        trace=no_trace(layer.neuron, layer.bias),
        activity=jnp.zeros((block, neurons), layer.bias.dtype),
        past_potential=jnp.zeros((block, recorded), layer.bias.dtype),
        arriving=None if problem.loop is None else problem.loop.silence(),
    )


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
    high age, three to four times cheaper at a relative error of 3 10^-4.

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
            current, age, of_age, event = inputs
            potential = y.potential
            now = eqx.tree_at(lambda a: a.of_age, args, of_age, is_leaf=_is_none)
            y = eqx.tree_at(lambda y: y.age, y, age)
            y, activity = _advance(terms.vf(t0, y, now), y, event, current, args)
            kept = potential[:0] if args.recorded is None else potential[args.recorded]
            return y, (activity, kept)

        y1 = eqx.tree_at(lambda y: y.share, y0, y0.share / of_all_ages(y0.share))
        path = args.path[solver_state // block]
        currents = encode(path, args.inwards, args.layer.num_neurons)
        if y0.arriving is not None:
            currents = currents + y0.arriving[:block]
        # Reverse mode computes a step again rather than keep all that came up in it.
        ages, events = schedule.ages(steps, dtype), schedule.event(steps + 1)
        inputs = (currents, ages, age_ratio(args, ages), events)
        y1, (activity, past) = jax.lax.scan(
            jax.checkpoint(one_step, prevent_cse=False), y1, inputs
        )
        step = solver_state + block
        age = schedule.ages(step, dtype)
        y1 = eqx.tree_at(
            lambda y: (y.age, y.activity, y.past_potential), y1, (age, activity, past)
        )
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


def renewal_problem(
    layer: Layer,
    mesh: AgeMesh,
    dt: float,
    increments: Float[Array, "time *tiles latents"],
    block: int,
    decoder: Array,
    recorded: Array | None,
) -> RenewalProblem:
    """With the path in blocks, no longer than a delay; the last one is filled up with zeros."""
    loop = loop_of(layer, dt)
    if loop is not None:
        block = min(block, loop.delay)
    schedule = mesh.schedule(memory_steps(layer.neuron, dt), dt)
    num_blocks = -(-len(increments) // block)
    padding = num_blocks * block - len(increments)
    blocks = jnp.pad(increments, [(0, padding)] + [(0, 0)] * (increments.ndim - 1))
    blocks = blocks.reshape(num_blocks, block, *increments.shape[1:])
    return RenewalProblem(
        layer, schedule, dt, blocks, directions(layer), decoder, recorded, loop
    )


def _advance(
    rho: Hazard | SeparableHazard,
    y: Cohorts,
    event: Event,
    current: Float[Array, " neurons"],
    args: RenewalProblem,
) -> tuple[Cohorts, Float[Array, " neurons"]]:
    layer, dt = args.layer, args.dt
    fired = firing(y.share, rho, dt)
    activity = of_all_ages(fired)
    new_mark, trace = newborn(layer.neuron, y.potential, y.trace, activity, dt)
    old_mark = faded(layer.neuron, y.mark, dt)
    driven = decay_factor(layer.neuron.tau_m, dt) * (y.potential - layer.bias)
    driven = driven + input_factor(layer.neuron.tau_m, dt) * current
    elder = y.elder
    if args.schedule.num_bins == 1:
        share = survivors(y.share, fired) + activity
        mark = _joined(share, activity, new_mark, old_mark)
    else:
        mark = _merged_marks(y.share, fired, new_mark, old_mark, event)
        if elder is None:
            share = merge(y.share, fired, activity, event)
        else:
            share, elder = merge_both(
                y.share, fired, activity, elder, increase(rho, dt), event
            )
    new = Cohorts(
        potential=layer.bias + driven,
        share=share,
        age=y.age,
        elder=elder,
        mark=mark,
        trace=trace,
        activity=y.activity,
        past_potential=y.past_potential,
        arriving=y.arriving,
    )
    return new, activity


Marks = PyTree[Float[Array, "bins neurons"]]


def _joined(share, newborn, newborn_mark, old_mark: Marks) -> Marks:
    """Mean marks of the one bin of a neuron without memory."""
    part = newborn / share  # which is 1, but for rounding
    return jax.tree.map(
        lambda new, old: part * new + (1.0 - part) * old, newborn_mark, old_mark
    )


def _merged_marks(share, fired, newborn_mark, old_mark: Marks, event: Event) -> Marks:
    """Mean marks of the cohorts, two of which become one."""
    slots = (event.target, event.younger, event.elder)
    members = left_in(share, fired, event)

    def merge_mark(new, old):
        mean = mean_of_members([old[slot] for slot in slots], members)
        return write(old, event, mean, new)

    return jax.tree.map(merge_mark, newborn_mark, old_mark)
