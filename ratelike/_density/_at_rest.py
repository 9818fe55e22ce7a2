"""The density that every solution begins with."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._neuron import AbstractNeuronModel
from ratelike._types import PyTree


def never_fired(
    neuron: AbstractNeuronModel, bias: Float[Array, " neurons"], num_bins: int
) -> tuple[Float[Array, "bins neurons"], PyTree[Float[Array, "bins neurons"]]]:
    """Masses and marks of neurons at rest, as if they had never fired: all mass is in the last bin."""
    empty = jnp.zeros((num_bins, *bias.shape), bias.dtype)
    mark = jax.tree.map(
        lambda mark: jnp.broadcast_to(mark, empty.shape), neuron.mark(bias)
    )
    return empty.at[-1].set(1.0), mark
