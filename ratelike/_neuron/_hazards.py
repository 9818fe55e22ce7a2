"""The hazard on the grid, with the dead time, and the chance to fire in a step."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._neuron._ages import in_seconds, oldest_age
from ratelike._neuron._base import AbstractNeuronModel, Elementwise, Factors, Mark
from ratelike._numerics._exponential import one_minus_exp


def hazard(
    neuron: AbstractNeuronModel,
    potential: Float[Array, "..."],
    age: Float[Array, "..."],
    mark: Mark,
) -> Float[Array, "..."]:
    """rho(h, a, mark) in hertz, zero within the dead time and half of it at its end.

    Age and dead time are multiples of dt, computed in different ways: they are compared with a tolerance.
    """
    return _after_dead_time(neuron, age, neuron.hazard(potential, age, mark))


def successive_hazards(
    neuron: AbstractNeuronModel,
    ends: Sequence[Float[Array, " neurons"]],
    potentials: Sequence[Float[Array, " neurons"]],
    age: Float[Array, " neurons"],
    marks: Sequence[Mark],
    dt: float,
) -> list[Float[Array, " neurons"]]:
    """rho in steps that follow one another without a spike, `age` (an index) being that of the first one.

    `ends` are the potentials between the steps, `potentials` those that act in them.
    """
    oldest = oldest_age(neuron, dt)
    ages = [
        in_seconds(neuron, jnp.minimum(age + k, oldest), dt)
        for k in range(len(potentials))
    ]
    hazards = neuron.successive_hazards(ends, potentials, ages, marks, dt)
    return [
        _after_dead_time(neuron, a, rho) for a, rho in zip(ages, hazards, strict=True)
    ]


def shared_factors(neuron: AbstractNeuronModel) -> Factors | None:
    """Both factors of a hazard whose factor of age, dead time included, is the same for all neurons."""
    factors = neuron.separate()
    if factors is None:
        return None
    age = jnp.zeros((), neuron.dead_time.dtype)
    ratio = jax.eval_shape(lambda: factors.ratio(age) * neuron.dead_time)
    return factors if ratio.size == 1 else None


def hazard_ratio(
    neuron: AbstractNeuronModel, ratio: Elementwise, age: Float[Array, "..."]
) -> Float[Array, "..."]:
    """The factor of age of a hazard on the grid, with the dead time."""
    return _after_dead_time(neuron, age, ratio(age))


def _after_dead_time(
    neuron: AbstractNeuronModel,
    age: Float[Array, "..."],
    value: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Half of the hazard where the age is the dead time."""
    # Of the moments of two steps that are a dead time apart, half are less apart. With all of the hazard the dead time
    # would be too short by dt/2, an error of first order wherever neurons are likely to fire there. An age of `memory`
    # stands for all later ones.
    is_over = (age >= neuron.dead_time * (1.0 + 1e-4)) | (age >= neuron.own_memory)
    at_its_end = jnp.where(age >= neuron.dead_time * (1.0 - 1e-4), 0.5 * value, 0.0)
    return jnp.where(is_over, value, at_its_end)


def firing_probability(hazard: Float[Array, "..."], dt: float) -> Float[Array, "..."]:
    """p = 1 - exp(-dt rho), the chance to fire in a step of constant hazard, without cancellation."""
    return one_minus_exp(dt * hazard)
