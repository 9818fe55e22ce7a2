"""A layer with its spikes given: deterministic, and differentiable in every parameter."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, UInt

from ratelike._estimator._base import Sample
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._ages import in_seconds, oldest_age
from ratelike._neuron._base import Mark
from ratelike._neuron._hazards import hazard
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Population
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import potentials_at_ends
from ratelike._types import PyTree


class Replay(eqx.Module):
    """What led to given spikes. Nothing here is random, and all of it depends on the parameters."""

    spikes: Float[Array, "time neurons"]  # constants, 0 or 1
    potential: Float[Array, "time neurons"]  # that acts in each step
    spent: Float[Array, "time neurons"]  # dt rho: p = 1 - exp(-spent)
    succeeded: Bool[Array, ""]
    packed: UInt[Array, "time words"] | None  # the spikes in bits, if they are kept

    def layer_output(
        self,
        population: Population,
        activity: Float[Array, "time neurons"],
        recorded: Integer[Array, " recorded"] | None,
        saved: PyTree = None,
    ) -> LayerOutput:
        """The layer hands on `activity`: the spikes, with a derivative or without."""
        decoded = population.decode(activity)
        recording = None
        if recorded is not None:
            recording = Recording(
                recorded, self.potential[:, recorded], activity[:, recorded]
            )
        return LayerOutput(
            decoded, recording, saved, self.succeeded, spikes=self.packed
        )


def replay(
    sample: Sample,
    population: Population,
    increments: Float[Array, "time *tiles latents"],
    grid: TimeGrid,
) -> Replay:
    r"""Draws the spikes, without a derivative, and goes through them once more with one.

    Given the spikes, ages and feedback are known, so that all steps are computed at once: h is a linear filter of the
    input, and the mark is that of the step of the last spike. Memory is that of a few arrays (time, neurons).
    """
    neuron, bias = population.neuron, population.bias
    everyone = jnp.arange(population.num_neurons, dtype=jnp.int32)
    drawn = sample(*jax.lax.stop_gradient((population, increments)), everyone)
    assert drawn.recording is not None
    spikes = jax.lax.stop_gradient(drawn.recording.activity)
    potential = _potentials(population, increments, spikes, grid)
    last = _last_spikes(spikes)
    steps = jnp.arange(grid.num_steps, dtype=last.dtype)[:, None]
    oldest = oldest_age(neuron, grid.dt)
    fired = last >= 0
    age = jnp.where(fired, jnp.minimum(steps - 1 - last, oldest), oldest)
    if neuron.is_renewal:
        mark = _of_last_spike(neuron, bias, potential, last)
    else:
        mark = _of_all_spikes(neuron, bias, potential, spikes, grid.dt)
    seconds = in_seconds(neuron, age.astype(potential.dtype), grid.dt)
    spent = grid.dt * hazard(neuron, potential, seconds, mark)
    return Replay(spikes, potential, spent, drawn.succeeded, drawn.spikes)


def _of_last_spike(
    neuron: AbstractNeuronModel,
    bias: Float[Array, " neurons"],
    potential: Float[Array, "time neurons"],
    last: Integer[Array, "time neurons"],
) -> Mark:
    """The mark of a renewal neuron in each step."""

    def choose(
        marks: Float[Array, "..."], at_rest: Float[Array, "..."]
    ) -> Float[Array, "time neurons"]:
        marks = jnp.broadcast_to(marks, potential.shape)
        own = jnp.take_along_axis(marks, jnp.maximum(last, 0), axis=0)
        return jnp.where(last >= 0, own, at_rest)

    return jax.tree.map(choose, neuron.mark(potential), neuron.mark(bias))


def _of_all_spikes(
    neuron: AbstractNeuronModel,
    bias: Float[Array, " neurons"],
    potential: Float[Array, "time neurons"],
    spikes: Float[Array, "time neurons"],
    dt: float,
) -> Mark:
    """The mark of a neuron that remembers spikes before the last one, in each step."""

    def step(
        mark: Mark, inputs: tuple[Float[Array, " neurons"], Float[Array, " neurons"]]
    ) -> tuple[Mark, Mark]:
        potential, spike = inputs
        after = jax.tree.map(
            lambda fired, not_fired: jnp.where(spike > 0.0, fired, not_fired),
            neuron.mark_after_spike(potential, mark, dt),
            neuron.faded(mark, dt),
        )
        return after, mark

    return jax.lax.scan(step, neuron.mark(bias), (potential, spikes))[1]


def _potentials(
    population: Population,
    increments: Float[Array, "time *tiles latents"],
    spikes: Float[Array, "time neurons"],
    grid: TimeGrid,
) -> Float[Array, "time neurons"]:
    currents, recurrence = population.currents(increments), population.recurrence
    if recurrence is not None:
        silence = recurrence.initial(grid.dt)
        currents = currents + recurrence.throughout(silence, spikes, grid.dt)
    bias, tau_m = population.bias, population.neuron.tau_m
    ends = potentials_at_ends(bias, bias, currents, tau_m, grid.dt)
    return population.neuron.potential_in_step(ends[:-1], ends[1:])


def _last_spikes(
    spikes: Float[Array, "time neurons"],
) -> Integer[Array, "time neurons"]:
    """The step of the last spike before each step; -1 where there was none."""
    steps = jnp.arange(len(spikes), dtype=jnp.int32)[:, None]
    until_now = jax.lax.cummax(jnp.where(spikes > 0.0, steps, -1), axis=0)
    return jnp.concatenate([jnp.full_like(until_now[:1], -1), until_now[:-1]])
