"""A block of steps of the density, or the part of it that belongs to a piece of a run."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ratelike._density._advance import advance
from ratelike._density._column_steps import steps_in_columns
from ratelike._density._firing import sum_over_ages
from ratelike._density._refractory_queue import RefractoryQueue
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._renewal_term import (
    StepInputs,
    acting_between,
    cohort_hazard,
    seen_by,
)
from ratelike._density._state import (
    CohortDensity,
    GridState,
)
from ratelike._neuron import chosen_neurons
from ratelike._numerics import _platform as platform
from ratelike._numerics._time_blocks import Part
from ratelike._signal._membrane import leak_of
from ratelike._types import PyTree


def block_of_steps(
    y: GridState, inputs: StepInputs, args: RenewalProblem, part: Part | None
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
    if part is not None:
        return _part_of_steps(y, inputs, part, one_step, before)
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


def _part_of_steps(
    y: GridState,
    inputs: StepInputs,
    part: Part,
    one_step: Callable[[tuple, StepInputs], tuple[tuple, tuple]],
    before: PyTree,
) -> tuple[
    CohortDensity,
    RefractoryQueue | None,
    Float[Array, "block neurons"],
    Float[Array, "block recorded"],
]:
    """The steps of a block that belong to a piece of a run; the others leave everything as it is."""
    density, queue = jax.lax.cond(
        part.has(0), _normalised, lambda *state: state, y.density, y.queue
    )

    def step_or_none(
        carry: tuple, inputs: tuple[StepInputs, Bool[Array, ""]]
    ) -> tuple[tuple, tuple]:
        step_inputs, is_part = inputs
        _, nothing = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype),
            jax.eval_shape(one_step, carry, step_inputs),
        )
        return jax.lax.cond(
            is_part, one_step, lambda carry, _: (carry, nothing), carry, step_inputs
        )

    steps = jnp.arange(len(inputs.current), dtype=jnp.int32)
    (density, queue, _), (activity, acted) = jax.lax.scan(
        jax.checkpoint(step_or_none, prevent_cse=False),
        (density, queue, before),
        (inputs, part.has(steps)),
    )
    return density, queue, activity, acted


def currents_of_block(
    y: GridState,
    args: RenewalProblem,
    path: Float[Array, "block *tiles latents"],
    part: Part | None,
) -> Float[Array, "block neurons"]:
    currents = args.population.currents(path)
    recurrence, under_way = args.population.recurrence, y.output.under_way
    if recurrence is None or under_way is None:
        return currents
    return currents + recurrence.arriving(under_way, len(path), part)


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
