"""What there is to solve: a layer under an incoming path."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._age_mesh import AgeMesh
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._density._state import Cohorts
from ratelike._density._waiting import Waiting
from ratelike._neuron._history import no_trace
from ratelike._numerics._time_blocks import in_blocks
from ratelike._population._population import Population


class RenewalProblem(eqx.Module):
    """What the vector field and the solver need to know: the `args` of the solve."""

    layer: Population
    schedule: MergeSchedule
    dt: float = eqx.field(static=True)  # s
    path: Float[Array, "blocks block *tiles latents"]  # increments of the incoming path
    recorded: Integer[Array, " recorded"] | None


def initial_cohorts(problem: RenewalProblem) -> Cohorts:
    """All neurons at rest and as if they had never fired: in the last bin."""
    layer, schedule = problem.layer, problem.schedule
    recurrence = layer.recurrence
    neurons = layer.bias.shape[0]
    block = problem.path.shape[1]
    empty = jnp.zeros((schedule.num_bins, neurons), layer.bias.dtype)
    recorded = 0 if problem.recorded is None else len(problem.recorded)
    age, deviation = schedule.ages(jnp.int32(0), layer.bias.dtype)
    mark = layer.neuron.mark(layer.bias)
    return Cohorts(
        potential=layer.bias,
        share=empty.at[-1].set(1.0),
        age=age,
        deviation=deviation,
        elder=None if schedule.num_levels == 1 else jnp.full_like(empty, 0.5),
        mark=jax.tree.map(lambda m: jnp.broadcast_to(m, empty.shape), mark),
        waiting=_nobody_waiting(schedule, layer.bias, mark),
        trace=no_trace(layer.neuron, layer.bias),
        activity=jnp.zeros((block, neurons), layer.bias.dtype),
        acted=jnp.zeros((block, recorded), layer.bias.dtype),
        arriving=None if recurrence is None else recurrence.silence(problem.dt),
    )


def _nobody_waiting(schedule: MergeSchedule, bias: Array, mark) -> Waiting | None:
    if schedule.dead == 0:
        return None
    share = jnp.zeros((schedule.dead, *bias.shape), bias.dtype)
    marks = jax.tree.map(lambda m: jnp.broadcast_to(m, share.shape), mark)
    rows = share, marks
    first = jax.tree.map(lambda x: x[0], rows)
    return Waiting(rows, schedule.ages_of_dead(jnp.int32(0), bias.dtype), first)


def renewal_problem(
    layer: Population,
    mesh: AgeMesh,
    dt: float,
    increments: Float[Array, "time *tiles latents"],
    block: int,
    recorded: Array | None,
) -> RenewalProblem:
    """With the path in blocks, no longer than a delay; the last one is filled up with zeros."""
    if layer.recurrence is not None:
        block = min(block, layer.recurrence.delay_steps(dt))
    schedule = mesh.schedule_of(layer.neuron, dt)
    num_blocks = -(-len(increments) // block)
    blocks = in_blocks(increments, num_blocks, block)
    return RenewalProblem(layer, schedule, dt, blocks, recorded)
