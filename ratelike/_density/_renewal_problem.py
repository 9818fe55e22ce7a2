"""The problem that is solved on the grid: a layer under an incoming path."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._age_mesh import AgeMesh
from ratelike._density._at_rest import never_fired
from ratelike._density._density_piece import (
    DensityPiece,
    DensityShared,
    DensityState,
    going_on,
    settled,
    state_after,
)
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._density._refractory_queue import RefractoryQueue
from ratelike._density._state import (
    BlockOutput,
    CohortDensity,
    GridState,
    RefractoryDensity,
)
from ratelike._neuron._ages import in_seconds
from ratelike._numerics._time_blocks import in_blocks
from ratelike._population._layer_state import AbstractLayerState, SettledState
from ratelike._population._population import Population
from ratelike._types import PyTree


class RenewalProblem(eqx.Module):
    """What the vector field and the solver need to know: the `args` of the solve."""

    population: Population
    schedule: MergeSchedule
    dt: float = eqx.field(static=True)  # s
    path: Float[Array, "blocks block *tiles latents"]  # increments of the incoming path
    recorded: Integer[Array, " recorded"] | None
    piece: DensityPiece | None = None

    def with_blocks(self, num_blocks: int) -> "RenewalProblem":
        """The same, followed by blocks without input."""
        more = [(0, num_blocks - len(self.path))] + [(0, 0)] * (self.path.ndim - 1)
        return dataclasses.replace(self, path=jnp.pad(self.path, more))


def initial_state(problem: RenewalProblem) -> GridState:
    """That of the piece, or all neurons at rest."""
    y = state_at_rest(problem)
    return y if problem.piece is None else going_on(y, problem.piece)


def state_at_rest(problem: RenewalProblem) -> GridState:
    """As if no neuron had ever fired: all are in the last bin."""
    population, schedule = problem.population, problem.schedule
    recurrence = population.recurrence
    neurons = population.bias.shape[0]
    block = problem.path.shape[1]
    mass, mark = never_fired(population.neuron, population.bias, schedule.num_bins)
    recorded = 0 if problem.recorded is None else len(problem.recorded)
    density = CohortDensity(
        potential=population.bias,
        mass=mass,
        upper_fraction=None if schedule.num_levels == 1 else jnp.full_like(mass, 0.5),
        mark=mark,
        trace=population.neuron.initial_trace(population.bias),
    )
    output = BlockOutput(
        activity=jnp.zeros((block, neurons), population.bias.dtype),
        acted=jnp.zeros((block, recorded), population.bias.dtype),
        under_way=None if recurrence is None else recurrence.initial(problem.dt),
    )
    return GridState(
        density=density,
        queue=_empty_queue(
            schedule, population.bias, population.neuron.mark(population.bias)
        ),
        ages=schedule.ages(jnp.int32(0), population.bias.dtype),
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
    population: Population,
    mesh: AgeMesh,
    dt: float,
    increments: Float[Array, "time *tiles latents"],
    block: int,
    recorded: Integer[Array, " recorded"] | None,
) -> RenewalProblem:
    """With the path in blocks, no longer than a delay; the last one is filled up with zeros."""
    if population.recurrence is not None:
        block = min(block, population.recurrence.shortest_delay(dt))
    schedule = mesh.schedule_of(population.neuron, dt)
    num_blocks = -(-len(increments) // block)
    blocks = in_blocks(increments, num_blocks, block)
    return RenewalProblem(population, schedule, dt, blocks, recorded)


def with_piece(
    problem: RenewalProblem,
    initial: AbstractLayerState | None,
    increments: Float[Array, "time *tiles latents"],
) -> RenewalProblem:
    """The problem of a run of these increments that goes on from `initial`."""
    y = state_at_rest(problem)
    start, under_way = state_after(y)
    shared = DensityShared(jnp.zeros((), jnp.int32), under_way)
    if isinstance(initial, DensityState):
        start, shared = initial.neurons, initial.shared
    elif isinstance(initial, SettledState):
        neuron = problem.population.neuron
        potential = initial.neurons
        start = settled(neuron, potential, start, problem.schedule, problem.dt)
        if initial.shared is not None:
            shared = shared._replace(under_way=initial.shared.under_way)
    piece = DensityPiece(start, shared, len(increments))
    block = problem.path.shape[1]
    window = piece.window(block)
    path = window.in_blocks(increments, window.num_blocks(block), block)
    return dataclasses.replace(problem, path=path, piece=piece)


def refractory_density(y: GridState, problem: RenewalProblem) -> RefractoryDensity:
    """The bins of a state in the order of age, after those of the queue."""
    density = y.density
    age = jnp.minimum(y.ages[0], problem.schedule.memory)
    bins = (density.mass, age, density.mark)
    if y.queue is not None:
        mass, mark = y.queue.rows
        dead = (mass, y.queue.age, mark)
        bins = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), dead, bins)
    mass, age, mark = bins
    order = jnp.append(jnp.argsort(age[:-1], stable=True), len(age) - 1)
    return RefractoryDensity(
        potential=density.potential,
        age_distribution=mass[order],
        mark=jax.tree.map(lambda mark: mark[order], mark),
        activity=y.output.activity[-1],
        age=in_seconds(problem.population.neuron, age[order], problem.dt),
    )
