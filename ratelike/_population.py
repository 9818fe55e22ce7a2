"""Between latents and neurons: encode a path's increments, decode a population's activity.

Sums over neurons run tile by tile and the tiles are added in a fixed binary tree, so that they do not depend on what
else is computed beside them (a batch, another chunk, another device).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._network import Layer
from ratelike._random import TILE, num_tiles


def encode(
    layer: Layer, increments: Float[Array, "time latents"]
) -> Float[Array, "time neurons"]:
    """dI_i = sum_k E_ik dX_k."""
    return jnp.matmul(increments, layer.encoder.T, precision="highest")


def tiled_decoder(layer: Layer) -> Float[Array, "tiles tile latents+1"]:
    """D with a column of ones behind it, which counts the spikes, dealt into tiles and padded with zeros."""
    ones = jnp.ones((layer.num_neurons, 1), layer.decoder.dtype)
    columns = jnp.concatenate([layer.decoder, ones], axis=1)
    tiles = num_tiles(layer.num_neurons)
    padding = tiles * TILE - layer.num_neurons
    return jnp.pad(columns, ((0, padding), (0, 0))).reshape(tiles, TILE, -1)


def decode(
    decoder: Float[Array, "tiles tile latents+1"],
    activity: Float[Array, "time neurons"],
) -> tuple[Float[Array, "time latents"], Float[Array, " time"]]:
    """(1/N) sum_j D_j s_j, and the mean activity (1/N) sum_j s_j, in spikes per neuron and step."""
    num_steps, num_neurons = activity.shape
    tiles = decoder.shape[0]
    padded = jnp.pad(activity, ((0, 0), (0, tiles * TILE - num_neurons)))
    sums = jnp.einsum(
        "nts,tsp->tnp",
        padded.reshape(num_steps, tiles, TILE),
        decoder,
        precision="highest",
    )
    mean = _tree_sum(sums) / num_neurons
    return mean[:, :-1], mean[:, -1]


def _tree_sum(terms: Float[Array, "tiles ..."]) -> Float[Array, "..."]:
    while terms.shape[0] > 1:
        if terms.shape[0] % 2 == 1:
            terms = jnp.concatenate([terms, jnp.zeros_like(terms[:1])])
        terms = terms[0::2] + terms[1::2]
    return terms[0]
