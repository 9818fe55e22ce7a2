"""Between latents and neurons: encode a path's increments, decode a population's activity.

Sums over neurons run tile by tile and the tiles are added in a fixed binary tree, so that they do not depend on what
else is computed beside them (a batch, another chunk of the layer, another device).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._numerics._products import tiled_matmul
from ratelike._numerics._tile_random import TILE, num_tiles


def encode(
    increments: Float[Array, "time *tiles latents"],
    encoder: Float[Array, "tiles latents tile"],
    num_neurons: int,
) -> Float[Array, "time neurons"]:
    """dI_i = sum_k E_ik dX_k, of a path that all neurons share or of one for each tile."""
    tiles, latents, _ = encoder.shape
    if latents == 0:  # no input: not even a product of nothing
        return jnp.zeros((len(increments), num_neurons), encoder.dtype)
    if increments.ndim == 2:
        shape = (tiles, len(increments), latents)
        paths = jnp.broadcast_to(increments, shape)
    else:
        paths = jnp.swapaxes(increments, 0, 1)
    currents = jnp.swapaxes(tiled_matmul(paths, encoder), 0, 1)
    return currents.reshape(-1, tiles * TILE)[:, :num_neurons]


def decode(
    decoder: Float[Array, "tiles tile columns"],
    activity: Float[Array, "time neurons"],
) -> Float[Array, "time tiles columns"]:
    """sum_j D_j s_j over the neurons j of each tile."""
    num_steps, num_neurons = activity.shape
    tiles = decoder.shape[0]
    padded = jnp.pad(activity, ((0, 0), (0, tiles * TILE - num_neurons)))
    padded = jnp.swapaxes(padded.reshape(num_steps, tiles, TILE), 0, 1)
    return jnp.swapaxes(tiled_matmul(padded, decoder), 0, 1)


def in_tiles(
    rows: Float[Array, "neurons columns"],
) -> Float[Array, "tiles tile columns"]:
    """Rows dealt into tiles, the last one filled up with zeros."""
    tiles = num_tiles(rows.shape[0])
    padding = tiles * TILE - rows.shape[0]
    return jnp.pad(rows, ((0, padding), (0, 0))).reshape(tiles, TILE, -1)
