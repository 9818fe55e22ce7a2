"""Between latents and neurons: encode a path's increments, decode a population's activity.

Sums over neurons run tile by tile and the tiles are added in a fixed binary tree, so that they do not depend on what
else is computed beside them (a batch, another part of the layer, another device).
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._network import Layer
from ratelike._numerics._products import matrix_product
from ratelike._numerics._tile_random import TILE, num_tiles
from ratelike._population._sums import tree_sum


def with_count(layer: Layer) -> Layer:
    """The layer with a column of ones behind its decoder, which counts the spikes (or weighs them)."""
    ones = jnp.ones((layer.num_neurons, 1), layer.decoder.dtype)
    if layer.node_weights is not None:
        ones = layer.node_weights[:, None] * layer.num_neurons
    columns = jnp.concatenate([layer.decoder, ones], axis=1)
    return eqx.tree_at(lambda part: part.decoder, layer, columns)


def directions(layer: Layer) -> Float[Array, "tiles latents tile"]:
    """The encoder as `encode` wants it, dealt into tiles; made once, before the loop over time."""
    return jnp.swapaxes(in_tiles(layer.encoder), 1, 2)


def encode(
    increments: Float[Array, "time *tiles latents"],
    directions: Float[Array, "tiles latents tile"],
    num_neurons: int,
) -> Float[Array, "time neurons"]:
    """dI_i = sum_k E_ik dX_k, of a path that all neurons share or of one for each tile."""
    tiles, latents, _ = directions.shape
    if increments.ndim == 2:
        shape = (tiles, len(increments), latents)
        paths = jnp.broadcast_to(increments, shape)
    else:
        paths = jnp.swapaxes(increments, 0, 1)
    currents = jnp.swapaxes(matrix_product(paths, directions), 0, 1)
    return currents.reshape(-1, tiles * TILE)[:, :num_neurons]


def tiled_decoder(layer: Layer) -> Float[Array, "tiles tile decoded"]:
    """D dealt into tiles and padded with zeros."""
    return in_tiles(layer.decoder)


def decode(
    decoder: Float[Array, "tiles tile decoded"],
    activity: Float[Array, "time neurons"],
) -> Float[Array, "time tiles decoded"]:
    """sum_j D_j s_j over the neurons j of each tile."""
    num_steps, num_neurons = activity.shape
    tiles = decoder.shape[0]
    padded = jnp.pad(activity, ((0, 0), (0, tiles * TILE - num_neurons)))
    padded = jnp.swapaxes(padded.reshape(num_steps, tiles, TILE), 0, 1)
    return jnp.swapaxes(matrix_product(padded, decoder), 0, 1)


def in_tiles(
    rows: Float[Array, "neurons columns"],
) -> Float[Array, "tiles tile columns"]:
    """Rows dealt into tiles, the last one padded with zeros."""
    tiles = num_tiles(rows.shape[0])
    padding = tiles * TILE - rows.shape[0]
    return jnp.pad(rows, ((0, padding), (0, 0))).reshape(tiles, TILE, -1)


def summed_where_shared(
    decoded: Float[Array, "time tiles decoded"],
    increments: Float[Array, "time *tiles latents"],
) -> Float[Array, "time #tiles decoded"]:
    """One sum for all tiles if they share a path; each tile's own if it has a path of its own."""
    return tree_sum(decoded)[:, None] if increments.ndim == 2 else decoded
