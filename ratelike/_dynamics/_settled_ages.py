"""Spiking neurons that have had constant input for a long time: the age of each is drawn."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._dynamics._draws import Neurons
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._settled import settled_ages
from ratelike._numerics._tile_random import TILE, per_neuron

# The ages are drawn from keys of their own, which no block of steps has.
OF_AGES = 2**32 - 1


def settled_neurons(
    neuron: AbstractNeuronModel,
    potential: Float[Array, " neurons"],
    tile_keys: Array,
    dt: float,
) -> Neurons:
    """Independent draws, given the potential."""
    own_keys = jax.vmap(lambda key: jax.random.fold_in(key, OF_AGES))(tile_keys)
    draw = functools.partial(_uniform, dtype=potential.dtype)
    level = per_neuron(draw, own_keys, potential.shape[0])
    younger = jnp.cumsum(settled_ages(neuron, potential, dt), axis=0)[:-1]
    age = jnp.sum(younger <= level, axis=0).astype(potential.dtype)
    return Neurons(age, neuron.mark(potential))


def _uniform(key: Array, dtype: jnp.dtype) -> Float[Array, " tile"]:
    return jax.random.uniform(key, (TILE,), dtype)
