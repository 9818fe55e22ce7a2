"""What leads to given spikes. Nothing here is random, and all of it depends on the parameters."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._ages import in_seconds, oldest_age
from ratelike._neuron._base import Mark
from ratelike._neuron._hazards import hazard
from ratelike._population._population import Population
from ratelike._population._recurrence import RecurrentState
from ratelike._signal._membrane import potentials_at_ends


class History(eqx.Module):
    """What the steps to come need to know of those before them."""

    potential: Float[Array, " neurons"]  # h at the beginning of the next step
    age: Integer[Array, " neurons"]  # its index in the next step
    mark: Mark  # in the next step
    under_way: RecurrentState | None


class Course(NamedTuple):
    """What acts in each step."""

    potential: Float[Array, "time neurons"]
    spent: Float[Array, "time neurons"]  # dt rho: p = 1 - exp(-spent)


def never_fired(population: Population, dt: float) -> History:
    bias, recurrence = population.bias, population.recurrence
    return History(
        bias,
        jnp.full(bias.shape, oldest_age(population.neuron, dt), jnp.int32),
        jax.tree.map(
            lambda mark: jnp.broadcast_to(mark, bias.shape),
            population.neuron.mark(bias),
        ),
        None if recurrence is None else recurrence.initial(dt),
    )


def course_of(
    population: Population,
    history: History,
    increments: Float[Array, "time *tiles latents"],
    spikes: Float[Array, "time neurons"],
    dt: float,
) -> tuple[Course, History]:
    """Given the spikes, ages and feedback are known, so that all steps are computed at once.

    h is a linear filter of the input, and the mark of a renewal neuron is that of the step of its last spike. Memory is
    that of a few arrays (time, neurons).
    """
    neuron, bias = population.neuron, population.bias
    currents, under_way = population.currents(increments), None
    if population.recurrence is not None:
        assert history.under_way is not None
        recurrent, under_way = population.recurrence.throughout(
            history.under_way, spikes, dt
        )
        currents = currents + recurrent
    ends = potentials_at_ends(bias, history.potential, currents, neuron.tau_m, dt)
    potential = neuron.potential_in_step(ends[:-1], ends[1:])
    last = _last_spikes(spikes)
    steps = jnp.arange(len(last), dtype=last.dtype)[:, None]
    oldest = oldest_age(neuron, dt)
    age = jnp.where(last >= 0, steps - 1 - last, history.age + steps)
    age = jnp.minimum(age, oldest)
    if neuron.is_renewal:
        mark, after = _of_last_spike(neuron, history.mark, potential, last)
    else:
        mark, after = _of_all_spikes(neuron, history.mark, potential, spikes, dt)
    seconds = in_seconds(neuron, age[:-1].astype(potential.dtype), dt)
    spent = dt * hazard(neuron, potential, seconds, mark)
    return Course(potential, spent), History(ends[-1], age[-1], after, under_way)


def log_chances(
    spent: Float[Array, "*shape"], fired: Bool[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log p where a neuron fires, log(1 - p) = -dt rho where it does not; -inf, without a derivative, for what cannot be."""
    possible = fired & (spent > 0.0)
    log_p = jnp.log(-jnp.expm1(-jnp.where(possible, spent, 1.0)))
    return jnp.where(fired, jnp.where(possible, log_p, -jnp.inf), -spent)


def _last_spikes(
    spikes: Float[Array, "time neurons"],
) -> Integer[Array, "ends neurons"]:
    """The step of the last spike before each step, and before the one that follows them; -1 where there was none."""
    steps = jnp.arange(len(spikes), dtype=jnp.int32)[:, None]
    until_now = jax.lax.cummax(jnp.where(spikes > 0.0, steps, -1), axis=0)
    return jnp.concatenate([jnp.full_like(until_now[:1], -1), until_now])


def _of_last_spike(
    neuron: AbstractNeuronModel,
    before: Mark,
    potential: Float[Array, "time neurons"],
    last: Integer[Array, "ends neurons"],
) -> tuple[Mark, Mark]:
    """The mark of a renewal neuron in each step, and in the one that follows them."""

    def choose(
        marks: Float[Array, "..."], before: Float[Array, " neurons"]
    ) -> Float[Array, "ends neurons"]:
        marks = jnp.broadcast_to(marks, potential.shape)
        own = jnp.take_along_axis(marks, jnp.maximum(last, 0), axis=0)
        return jnp.where(last >= 0, own, before)

    marks = jax.tree.map(choose, neuron.mark(potential), before)
    return (
        jax.tree.map(lambda mark: mark[:-1], marks),
        jax.tree.map(lambda mark: mark[-1], marks),
    )


def _of_all_spikes(
    neuron: AbstractNeuronModel,
    before: Mark,
    potential: Float[Array, "time neurons"],
    spikes: Float[Array, "time neurons"],
    dt: float,
) -> tuple[Mark, Mark]:
    """The same of a neuron that remembers spikes before the last one."""

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

    after, marks = jax.lax.scan(step, before, (potential, spikes))
    return marks, after
