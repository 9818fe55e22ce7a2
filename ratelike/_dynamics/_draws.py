"""Spikes of a block of steps from one exponential variate for each neuron."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._dynamics._blocks import Rows, longest_block
from ratelike._neuron import AbstractNeuronModel, dead_steps
from ratelike._neuron._ages import oldest_age
from ratelike._neuron._hazards import successive_hazards
from ratelike._numerics._tile_random import per_neuron, standard_exponential
from ratelike._numerics._time_blocks import Part
from ratelike._population._population import Population
from ratelike._types import PyTree

# Steps that share one random number are unrolled; more of them compile longer and gain nothing.
LONGEST_BLOCK = 8

Draw = Callable[[Integer[Array, ""]], Float[Array, " neurons"]]


class Neurons(eqx.Module):
    """Between two blocks."""

    age: Float[Array, " neurons"]  # index: steps since the one after the last spike
    mark: PyTree[Float[Array, " neurons"]]


class Progress(NamedTuple):
    """Within a block: the hazard summed since its beginning, the age at its end as far as is known, and the mark by now."""

    summed: Float[Array, " neurons"]
    age: Float[Array, " neurons"]
    mark: PyTree[Float[Array, " neurons"]]


def steps_of_a_draw(population: Population, dt: float) -> int:
    """No more than the shortest dead time and a step: a neuron fires at most once in them."""
    block = min(dead_steps(population.neuron, dt) + 1, LONGEST_BLOCK)
    return longest_block(population, dt, block)


def draws_of(population: Population, tile_keys: Array) -> Draw:
    """The variates of the block of a number."""
    dtype = population.bias.dtype

    def draw(index: Integer[Array, ""]) -> Float[Array, " neurons"]:
        def one_tile(tile_key: Array) -> Float[Array, " tile"]:
            return standard_exponential(tile_key, index, dtype)

        return per_neuron(one_tile, tile_keys, population.num_neurons)

    return draw


def never_fired(population: Population, dt: float) -> Neurons:
    oldest = oldest_age(population.neuron, dt)
    return Neurons(
        age=jnp.full_like(population.bias, oldest),
        mark=population.neuron.mark(population.bias),
    )


def at_beginning(
    neurons: Neurons, block: int, neuron: AbstractNeuronModel, dt: float
) -> Progress:
    age = jnp.minimum(neurons.age + block, oldest_age(neuron, dt))
    return Progress(jnp.zeros_like(neurons.age), age, neurons.mark)


def at_end(progress: Progress) -> Neurons:
    summed, age, mark = progress
    # A sum that is NaN exceeds no threshold, without a word: the age keeps it, until the end of the simulation.
    return Neurons(jnp.where(jnp.isnan(summed), summed, age), mark)


def advance(
    neurons: Neurons,
    spike_threshold: Float[Array, " neurons"],
    ends: Rows,
    potentials: Rows,
    neuron: AbstractNeuronModel,
    dt: float,
    progress: Progress | None = None,
    part: Part | None = None,
) -> tuple[Neurons, Progress, Rows]:
    """A neuron fires in the step in which its summed hazard exceeds its `spike_threshold`, an exponential variate.

    It fires at most once in a block, so that its age and mark follow from the block's beginning. Where a run takes a
    `part` of the block only, it starts from the `progress` that an earlier run has made in it.
    """
    block, marks = len(potentials), [neurons.mark]
    while len(marks) < block:
        marks.append(neuron.faded(marks[-1], dt))
    hazards = successive_hazards(neuron, ends, potentials, neurons.age, marks, dt)
    now = at_beginning(neurons, block, neuron, dt) if progress is None else progress
    spikes = []
    steps = zip(potentials, hazards, marks, strict=True)
    for step, (potential, rho, mark) in enumerate(steps):
        before = now.summed
        summed = before + dt * rho
        fired = (summed > spike_threshold) & (before <= spike_threshold)
        age = jnp.where(fired, block - 1.0 - step, now.age)
        mark = jax.tree.map(
            lambda new, old, fired=fired: jnp.where(fired, new, old),
            neuron.mark_after_spike(potential, mark, dt),
            neuron.faded(now.mark, dt),
        )
        after = Progress(summed, age, mark)
        if part is not None:
            fired &= part.has(step)
            after = choose(part.has(step), after, now)
        now = after
        spikes.append(fired.astype(spike_threshold.dtype))
    return at_end(now), now, spikes


def choose(condition: Array, if_true: PyTree, if_false: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), if_true, if_false)
