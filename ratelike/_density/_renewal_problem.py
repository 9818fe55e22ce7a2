"""The problem that is solved on the grid: a layer under an incoming path."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree

from ratelike._density._age_mesh import AgeMesh
from ratelike._density._at_rest import never_fired
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._density._refractory_queue import RefractoryQueue
from ratelike._density._state import BlockOutput, CohortDensity, GridState
from ratelike._network import Layer
from ratelike._neuron._history import no_trace
from ratelike._numerics._time_blocks import in_blocks
from ratelike._population._coding import directions
from ratelike._population._recurrence import Loop, loop_of


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


def initial_state(problem: RenewalProblem) -> GridState:
    """All neurons at rest and as if they had never fired: in the last bin."""
    layer, schedule = problem.layer, problem.schedule
    neurons = layer.bias.shape[0]
    block = problem.path.shape[1]
    mass, mark = never_fired(layer.neuron, layer.bias, schedule.num_bins)
    recorded = 0 if problem.recorded is None else len(problem.recorded)
    density = CohortDensity(
        potential=layer.bias,
        mass=mass,
        upper_fraction=None if schedule.num_levels == 1 else jnp.full_like(mass, 0.5),
        mark=mark,
        trace=no_trace(layer.neuron, layer.bias),
    )
    output = BlockOutput(
        activity=jnp.zeros((block, neurons), layer.bias.dtype),
        acted=jnp.zeros((block, recorded), layer.bias.dtype),
        arriving=None if problem.loop is None else problem.loop.silence(),
    )
    return GridState(
        density=density,
        queue=_empty_queue(schedule, layer.bias, layer.neuron.mark(layer.bias)),
        ages=schedule.ages(jnp.int32(0), layer.bias.dtype),
        output=output,
    )


def _empty_queue(
    schedule: MergeSchedule, bias: Float[Array, " neurons"], mark: PyTree
) -> RefractoryQueue | None:
    if schedule.dead == 0:
        return None
    mass = jnp.zeros((schedule.dead, *bias.shape), bias.dtype)
    marks = jax.tree.map(lambda m: jnp.broadcast_to(m, mass.shape), mark)
    rows = mass, marks
    first = jax.tree.map(lambda x: x[0], rows)
    age = schedule.ages_in_queue(jnp.int32(0), bias.dtype)
    return RefractoryQueue(rows, age, first)


def renewal_problem(
    layer: Layer,
    mesh: AgeMesh,
    dt: float,
    increments: Float[Array, "time *tiles latents"],
    block: int,
    decoder: Float[Array, "tiles tile decoded"],
    recorded: Integer[Array, " recorded"] | None,
) -> RenewalProblem:
    """With the path in blocks, no longer than a delay; the last one is filled up with zeros."""
    loop = loop_of(layer, dt)
    if loop is not None:
        block = min(block, loop.delay)
    schedule = mesh.schedule_of(layer.neuron, dt)
    num_blocks = -(-len(increments) // block)
    blocks = in_blocks(increments, num_blocks, block)
    return RenewalProblem(
        layer, schedule, dt, blocks, directions(layer), decoder, recorded, loop
    )
