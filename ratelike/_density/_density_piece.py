"""A density that goes on from a state, and the state that it leaves."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._merge_schedule import MergeSchedule
from ratelike._density._refractory_queue import RefractoryQueue, Row, Rows
from ratelike._density._state import CohortDensity, GridState
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._settled import settled_ages
from ratelike._numerics._products import matmul
from ratelike._numerics._time_blocks import Part, Window
from ratelike._population._layer_state import AbstractLayerState
from ratelike._population._recurrence import RecurrentState


class DensityNeurons(NamedTuple):
    """Of each neuron: the density in its slots, and the cohorts within their dead time."""

    density: CohortDensity
    queue: tuple[Rows, Row] | None


class DensityShared(NamedTuple):
    """What all neurons have in common."""

    step: Integer[Array, ""]  # number of the next step of the run
    under_way: RecurrentState | None  # feedback


class DensityState(AbstractLayerState):
    """The density between two steps, on the mesh of ages of `schedule`."""

    neurons: DensityNeurons
    shared: DensityShared
    schedule: MergeSchedule

    @property
    def potential(self) -> Float[Array, " neurons"]:
        """h."""
        return self.neurons.density.potential


class DensityPiece(eqx.Module):
    """Which steps of its blocks belong to a run, and the density with which it begins."""

    start: DensityNeurons
    shared: DensityShared
    num_steps: int = eqx.field(static=True)

    def first(self, block: int) -> Integer[Array, ""]:
        """The step within the first block; blocks begin at multiples of their length."""
        return self.shared.step % block

    def window(self, block: int) -> Window:
        return Window(self.first(block), self.num_steps)

    def part(self, step: Integer[Array, ""], block: int) -> Part | None:
        """That of the block that begins with `step`; None where every block is of one step, and belongs to the run."""
        if block == 1:
            return None
        origin = self.shared.step - self.first(block)
        return self.window(block).part((step - origin) // block, block)


def state_after(y: GridState) -> tuple[DensityNeurons, RecurrentState | None]:
    """Of the solver, what goes on."""
    queue = None if y.queue is None else (y.queue.rows, y.queue.first)
    return DensityNeurons(y.density, queue), y.output.under_way


def going_on(y: GridState, piece: DensityPiece) -> GridState:
    """`y`, with the density of the piece."""
    queue = None
    if y.queue is not None and piece.start.queue is not None:
        rows, first = piece.start.queue
        queue = RefractoryQueue(rows, y.queue.age, first)
    output = eqx.tree_at(
        lambda o: o.under_way,
        y.output,
        piece.shared.under_way,
        is_leaf=lambda x: x is None,
    )
    return GridState(piece.start.density, queue, y.ages, output)


def settled(
    neuron: AbstractNeuronModel,
    potential: Float[Array, " neurons"],
    rest: DensityNeurons,
    schedule: MergeSchedule,
    dt: float,
) -> DensityNeurons:
    """After constant input for a long time, at step 0; `rest` has the shapes.

    The exact probabilities of ages, added up over the members of each cohort: total and mean age are kept.
    """
    ages = settled_ages(neuron, potential, dt)
    index = jnp.arange(len(ages), dtype=potential.dtype)
    mean, deviation = schedule.ages(jnp.int32(0), potential.dtype)
    width = jnp.sqrt(12.0 * deviation**2 + 1.0)
    members = jnp.abs(index - mean[:, None]) < 0.5 * width[:, None]
    members = members.at[-1].set(False).astype(potential.dtype)
    mass = matmul(members, ages)
    excess = matmul(members * (index - mean[:, None]), ages)
    queue = None
    in_queue = jnp.zeros_like(potential)
    mark = neuron.mark(potential)
    if rest.queue is not None:
        of_rows = schedule.ages_in_queue(jnp.int32(0), potential.dtype)
        waiting = ages[of_rows.astype(jnp.int32)]
        in_queue = jnp.sum(waiting, axis=0)
        marks = jax.tree.map(lambda m: jnp.broadcast_to(m, waiting.shape), mark)
        rows = waiting, marks
        queue = rows, jax.tree.map(lambda x: x[0], rows)
    mass = mass.at[-1].set(1.0 - in_queue - jnp.sum(mass[:-1], axis=0))
    fraction = rest.density.upper_fraction
    if fraction is not None:
        spread = jnp.where(deviation > 0.0, deviation, 1.0)[:, None]
        shift = excess / (jnp.where(mass > 0.0, mass, 1.0) * spread)
        moved = jnp.clip(0.5 * (1.0 + shift), 0.0, 1.0)
        fraction = jnp.where((deviation > 0.0)[:, None], moved, 0.5)
    density = CohortDensity(
        potential=potential,
        mass=mass,
        upper_fraction=fraction,
        mark=jax.tree.map(lambda m: jnp.broadcast_to(m, mass.shape), mark),
        trace=rest.density.trace,
    )
    return DensityNeurons(density, queue)
