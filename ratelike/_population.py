"""Between latents and neurons: encode a path's increments, decode a population's activity.

Sums over neurons run tile by tile and the tiles are added in a fixed binary tree, so that they do not depend on what
else is computed beside them (a batch, another part of the layer, another device).
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._network import Layer
from ratelike._random import TILE, num_tiles

# Never in the halved precision that accelerators take by default.
matmul = functools.partial(jnp.matmul, precision="highest")


def with_count(layer: Layer) -> Layer:
    """The layer with a column of ones behind its decoder, which counts the spikes (or weighs them)."""
    ones = jnp.ones((layer.num_neurons, 1), layer.decoder.dtype)
    if layer.weights is not None:
        ones = layer.weights[:, None] * layer.num_neurons
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


@jax.custom_jvp
def matrix_product(
    left: Float[Array, "tiles rows inner"], right: Float[Array, "tiles inner columns"]
) -> Float[Array, "tiles rows columns"]:
    """A matrix product for each tile, rounded the same beside whatever else.

    The order in which a library adds up a matrix product depends on the shape. `vmap` would turn a batch of activities
    into more rows, and so change the last bit: here a batch becomes more tiles instead.
    """
    return _product_of_tiles(left, right)


@matrix_product.defjvp
def _(primals, tangents):
    (left, right), (dleft, dright) = primals, tangents
    tangent = matmul(dleft, right) + matmul(left, dright)
    return matrix_product(left, right), tangent


@jax.custom_batching.custom_vmap
def _product_of_tiles(left, right):
    return matmul(left, right)


@_product_of_tiles.def_vmap
def _(axis_size, in_batched, left, right):
    def batched(tiles, is_batched):
        if not is_batched:
            tiles = jnp.broadcast_to(tiles, (axis_size, *tiles.shape))
        return tiles.reshape(-1, *tiles.shape[2:])

    left, right = batched(left, in_batched[0]), batched(right, in_batched[1])
    # By itself again, for a batch of batches.
    product = _product_of_tiles(left, right)
    return product.reshape(axis_size, -1, *product.shape[1:]), True


def tree_sum(terms: Float[Array, "time tiles decoded"]) -> Float[Array, "time decoded"]:
    """Neighbours first, in a binary tree: whole branches can be added apart without changing a bit."""
    while terms.shape[1] > 1:
        if terms.shape[1] % 2 == 1:
            terms = jnp.pad(terms, ((0, 0), (0, 1), (0, 0)))
        terms = terms[:, 0::2] + terms[:, 1::2]
    return terms[:, 0]


def summed_where_shared(
    decoded: Float[Array, "time tiles decoded"],
    increments: Float[Array, "time *tiles latents"],
) -> Float[Array, "time #tiles decoded"]:
    """One sum for all tiles if they share a path; each tile's own if it has a path of its own."""
    return tree_sum(decoded)[:, None] if increments.ndim == 2 else decoded
