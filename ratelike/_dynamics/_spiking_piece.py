"""Spiking neurons that go on from a state, and the state that they leave."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._dynamics._blocks import Carried, Rows, at_rest, run_in_blocks
from ratelike._dynamics._draws import (
    Neurons,
    Progress,
    advance,
    at_beginning,
    at_end,
    choose,
    draws_of,
    never_fired,
    steps_of_a_draw,
)
from ratelike._dynamics._settled_ages import settled_neurons
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._ages import oldest_age
from ratelike._numerics._time_blocks import Part
from ratelike._population._layer_state import AbstractLayerState, SettledState
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._population._recurrence import RecurrentState
from ratelike._signal._grid import TimeGrid


class SpikingNeurons(NamedTuple):
    """Of each neuron."""

    # h - b, and b: not their sum, which is rounded.
    driven: Float[Array, " neurons"]
    bias: Float[Array, " neurons"]
    before_block: Neurons
    progress: Progress  # since then


class SpikingShared(NamedTuple):
    """What all neurons have in common."""

    next_draw: Integer[Array, ""]  # number of the block that has begun
    steps_done: Integer[Array, ""]  # of this block
    step: Integer[Array, ""]  # number of the next step of the run
    under_way: RecurrentState | None  # feedback


class SpikingState(AbstractLayerState):
    """A run may end within a block of steps that share one random number, and then goes on with this number."""

    neurons: SpikingNeurons
    shared: SpikingShared
    block: int = eqx.field(static=True)

    @property
    def potential(self) -> Float[Array, " neurons"]:
        """h."""
        return self.neurons.driven + self.neurons.bias


def sample_piece(
    population: Population,
    increments: Float[Array, "time *tiles latents"],
    initial: AbstractLayerState | None,
    grid: TimeGrid,
    tile_keys: Array,
    recorded: Integer[Array, " recorded"] | None,
    all_spike: bool,
) -> LayerOutput:
    """The output, with the state at the end of the run."""
    neuron, dt = population.neuron, grid.dt
    block = steps_of_a_draw(population, dt)
    draw = draws_of(population, tile_keys)
    driven, neurons, shared = _start(population, initial, tile_keys, block, dt)
    first_draw = shared.next_draw

    def advance_block(
        state: tuple[Neurons, Progress],
        ends: Rows,
        potentials: Rows,
        index: Integer[Array, ""],
        part: Part | None,
    ) -> tuple[tuple[Neurons, Progress], Float[Array, "block neurons"]]:
        neurons, progress = state
        draws = draw(first_draw + index)
        if part is None:
            now = advance(neurons, draws, ends, potentials, neuron, dt)
            return now[:2], jnp.stack(now[2])
        fresh = at_beginning(neurons, block, neuron, dt)
        progress = choose(part.has(0), fresh, progress)
        after, progress, spikes = advance(
            neurons, draws, ends, potentials, neuron, dt, progress, part
        )
        neurons = choose(part.has(block - 1), after, neurons)
        return (neurons, progress), jnp.stack(spikes)

    output, after = run_in_blocks(
        population,
        increments,
        grid,
        block,
        advance_block,
        Carried(driven, neurons, shared.under_way),
        recorded,
        shared.steps_done,
        all_spike,
    )
    draws, steps_done = jnp.divmod(shared.steps_done + grid.num_steps, block)
    final = SpikingState(
        SpikingNeurons(after.driven, population.bias, *after.state),
        SpikingShared(
            shared.next_draw + draws,
            steps_done,
            shared.step + grid.num_steps,
            after.under_way,
        ),
        block,
    )
    return dataclasses.replace(output, final=final)


def _start(
    population: Population,
    initial: AbstractLayerState | None,
    tile_keys: Array,
    block: int,
    dt: float,
) -> tuple[Float[Array, " neurons"], tuple[Neurons, Progress], SpikingShared]:
    """h - b, the neurons, and what they have in common."""
    neuron, bias = population.neuron, population.bias
    zero = jnp.zeros((), jnp.int32)
    if not isinstance(initial, SpikingState):
        neurons = never_fired(population, dt)
        driven, _, under_way = at_rest(population, dt, None)
        if isinstance(initial, SettledState):
            driven = initial.neurons - bias
            neurons = settled_neurons(neuron, initial.neurons, tile_keys, dt)
            if initial.shared is not None:
                under_way = initial.shared.under_way
        progress = at_beginning(neurons, block, neuron, dt)
        return driven, (neurons, progress), SpikingShared(zero, zero, zero, under_way)
    of_neurons, shared = initial.neurons, initial.shared
    driven = of_neurons.driven + (of_neurons.bias - bias)
    neurons, progress = of_neurons.before_block, of_neurons.progress
    if initial.block != block:
        # Another dead time: blocks begin anew, with numbers that no block has had.
        neurons = _by_now(initial, neuron, dt)
        progress = at_beginning(neurons, block, neuron, dt)
        shared = shared._replace(next_draw=shared.step, steps_done=zero)
    return driven, (neurons, progress), shared


def _by_now(state: SpikingState, neuron: AbstractNeuronModel, dt: float) -> Neurons:
    """Ages and marks at the end of a run, wherever within a block that was."""
    before, progress = state.neurons.before_block, state.neurons.progress
    done = state.shared.steps_done
    oldest = oldest_age(neuron, dt)
    unfired = jnp.minimum(before.age + state.block, oldest)
    passed = done.astype(before.age.dtype)
    still = jnp.minimum(before.age + passed, oldest)
    after_spike = progress.age - (state.block - passed)
    age = jnp.where(progress.age == unfired, still, after_spike)
    now = at_end(Progress(progress.summed, age, progress.mark))
    return choose(done > 0, now, before)
