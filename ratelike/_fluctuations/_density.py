"""One step of the refractory density, and what it does to anything that is known per age."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ratelike._density._merging import mean_of_members
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._hazards import firing_probability, hazard


class Density(eqx.Module):
    """The density of `ratelike.RefractoryDensity`, or a perturbation of it."""

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


def never_fired(
    neuron: AbstractNeuronModel, bias: Float[Array, " neurons"], num_ages: int
) -> Density:
    """All neurons at rest, in the last bin."""
    empty = jnp.zeros((num_ages, *bias.shape), bias.dtype)
    mark = jax.tree.map(
        lambda mark: jnp.broadcast_to(mark, empty.shape), neuron.mark(bias)
    )
    return Density(bias, empty.at[-1].set(1.0), mark)


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
    def acting(start, end):
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
    """Who fires in this step: the probabilities of the spiking neurons, as `AgeShift` uses them."""

    def probability_of(potential, mark):
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


def _slopes(function: Callable, point: tuple) -> tuple:
    """Partial derivatives by each leaf of `point`: of an elementwise function, one tangent of ones gives them all."""
    leaves, structure = jax.tree.flatten(point)

    def slope(chosen):
        tangents = [
            jnp.ones_like(leaf) if index == chosen else jnp.zeros_like(leaf)
            for index, leaf in enumerate(leaves)
        ]
        return jax.jvp(function, point, jax.tree.unflatten(structure, tangents))[1]

    return jax.tree.unflatten(structure, [slope(i) for i in range(len(leaves))])


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
    """Marks travel with their age; those that meet in the last bin are averaged, as in `AgeShift`."""

    def move(new, old):
        merged = mean_of_members(old[-2:], survivors[-2:])
        return jnp.concatenate([new[None], old[:-2], merged[None]])

    return jax.tree.map(move, newborn, mark)
