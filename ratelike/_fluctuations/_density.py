"""One step of the refractory density as the fluctuations need it: with the partial derivatives of its probabilities.

It is the step of `AgeShift` with exact ages, from the same hazards, probabilities and means of marks. Two things differ.
The rows move up by one here, because perturbations and moments of the density move by the same linear map (`shift`),
while `AgeShift` keeps its bins in fixed slots and has derivatives of its own for those. And the slopes need p itself:
survivors are (1 - p) P, where `AgeShift` subtracts the mass that fires, which rounds differently.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._at_rest import never_fired
from ratelike._density._merging import mean_of_members
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._hazards import firing_probability, hazard
from ratelike._types import PyTree


class Density(eqx.Module):
    """The density of `ratelike.extend.RefractoryDensity`, or a perturbation of it."""

    potential: Float[Array, " neurons"]  # h
    age_distribution: Float[Array, "ages neurons"]  # P
    mark: PyTree[Float[Array, "ages neurons"]]


class Step(NamedTuple):
    """What happens to a density in one step."""

    distribution: Float[Array, "ages neurons"]  # P, of sum 1
    probability: Float[Array, "ages neurons"]  # p
    survivors: Float[Array, "ages neurons"]  # (1 - p) P
    activity: Float[Array, " neurons"]  # r = sum p P
    slopes: PyTree[Float[Array, "ages neurons"]]  # dp/dhs and dp/d(mark)


def density_at_rest(
    neuron: AbstractNeuronModel, bias: Float[Array, " neurons"], num_ages: int
) -> Density:
    return Density(bias, *never_fired(neuron, bias, num_ages))


class Acting(NamedTuple):
    """The potential that acts in a step, and its partial derivatives by those at both ends."""

    potential: Float[Array, " neurons"]  # hs
    by_start: Float[Array, " neurons"]
    by_end: Float[Array, " neurons"]


def acting_between(
    neuron: AbstractNeuronModel,
    start: Float[Array, " neurons"],
    end: Float[Array, " neurons"],
) -> Acting:
    def acting(start: Array, end: Array) -> Array:
        return neuron.potential_in_step(start, end)

    potential = acting(start, end)
    return Acting(potential, *_slopes(acting, (start, end)))


def react(
    neuron: AbstractNeuronModel,
    age: Float[Array, "ages 1"],
    dt: float,
    density: Density,
    acting: Acting,
) -> Step:
    """The mass that fires in this step, with the probabilities of the spiking neurons, as in `AgeShift`."""

    def probability_of(potential: Array, mark: PyTree) -> Array:
        return firing_probability(hazard(neuron, potential, age, mark), dt)

    here = (acting.potential, density.mark)
    probability = probability_of(*here)
    slopes = _slopes(probability_of, here)
    # The sum is 1 up to the rounding errors of the steps so far, whatever the parameters: it has no derivative.
    total = jax.lax.stop_gradient(jnp.sum(density.age_distribution, axis=0))
    distribution = density.age_distribution * (1.0 / total)
    activity = jnp.sum(probability * distribution, axis=0)
    survivors = (1.0 - probability) * distribution
    return Step(distribution, probability, survivors, activity, slopes)


def _slopes(function: Callable[..., Array], point: tuple) -> tuple:
    """Partial derivatives by each leaf of `point`: of an elementwise function, one tangent of ones gives them all."""
    leaves, structure = jax.tree.flatten(point)

    def slope(chosen: int) -> Array:
        tangents = [
            jnp.ones_like(leaf) if index == chosen else jnp.zeros_like(leaf)
            for index, leaf in enumerate(leaves)
        ]
        return jax.jvp(function, point, jax.tree.unflatten(structure, tangents))[1]

    return jax.tree.unflatten(structure, [slope(i) for i in range(len(leaves))])


# Of the newborn and of the survivors, to the density after the step.
Shift = Callable[[Array, Array], Array]


def shift(
    newborn: Float[Array, " neurons"],
    survivors: Float[Array, "ages neurons"],
) -> Float[Array, "ages neurons"]:
    """Every bin moves up by one; the last absorbs the one below it."""
    newborn = newborn[None]
    if survivors.shape[0] == 1:
        return newborn + survivors
    oldest = jnp.sum(survivors[-2:], axis=0, keepdims=True)
    return jnp.concatenate([newborn, survivors[:-2], oldest])


def shift_mark(
    newborn: PyTree[Float[Array, " neurons"]],
    mark: PyTree[Float[Array, "ages neurons"]],
    survivors: Float[Array, "ages neurons"],
) -> PyTree[Float[Array, "ages neurons"]]:
    """Marks move with their rows; the last bin keeps the mean of its two, as in `AgeShift`."""

    def move(new: Array, old: Array) -> Array:
        merged = mean_of_members(old[-2:], survivors[-2:])
        return jnp.concatenate([new[None], old[:-2], merged[None]])

    return jax.tree.map(move, newborn, mark)
