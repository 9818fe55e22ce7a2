"""The state of a layer's neurons between two steps, from which a run can go on."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._numerics._tile_random import TILE
from ratelike._types import PyTree


class AbstractLayerState(eqx.Module):
    """What a dynamics needs to know to go on.

    Leaves of `neurons` have the neurons in their last axis: so chunks of a population know their part. `shared` is what
    they have in common.
    """

    neurons: eqx.AbstractVar[PyTree[Float[Array, "..."]]]
    shared: eqx.AbstractVar[PyTree[Array]]


class SettledShared(eqx.Module):
    """What neurons that hear each other have in common, and each dynamics takes over."""

    under_way: PyTree  # feedback


class SettledState(AbstractLayerState):
    """Neurons that have had constant input for a long time: whatever a dynamics makes of it."""

    neurons: Float[Array, " neurons"]  # input potential
    shared: SettledShared | None


def part_of_state(
    state: AbstractLayerState, first_tile: Integer[Array, ""], num_tiles: int
) -> AbstractLayerState:
    """That of whole tiles of neurons; beyond the last neuron, copies of it."""

    def rows(leaf: Array) -> Array:
        numbers = first_tile * TILE + jnp.arange(num_tiles * TILE, dtype=jnp.int32)
        return leaf[..., jnp.minimum(numbers, leaf.shape[-1] - 1)]

    neurons = jax.tree.map(rows, state.neurons)
    return eqx.tree_at(lambda s: s.neurons, state, neurons)


def first_neurons(state: AbstractLayerState, num_neurons: int) -> AbstractLayerState:
    """Without what filled up the last chunk."""
    neurons = jax.tree.map(lambda leaf: leaf[..., :num_neurons], state.neurons)
    return eqx.tree_at(lambda s: s.neurons, state, neurons)
