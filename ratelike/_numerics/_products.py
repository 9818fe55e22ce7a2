"""Matrix products in full precision, and such as round a tile alike whatever is computed beside it."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Never in the halved precision that accelerators take by default.
matmul = functools.partial(jnp.matmul, precision="highest")


@jax.custom_jvp
def tiled_matmul(
    left: Float[Array, "tiles rows inner"], right: Float[Array, "tiles inner columns"]
) -> Float[Array, "tiles rows columns"]:
    """A matrix product for each tile, rounded alike whatever is computed beside it.

    The order in which a library adds up a matrix product depends on the shape. `vmap` would turn a batch of activities
    into more rows, and so change the last bit: here a batch becomes more tiles instead.
    """
    return _product_of_tiles(left, right)


@tiled_matmul.defjvp
def _(
    primals: tuple[
        Float[Array, "tiles rows inner"], Float[Array, "tiles inner columns"]
    ],
    tangents: tuple[
        Float[Array, "tiles rows inner"], Float[Array, "tiles inner columns"]
    ],
) -> tuple[Float[Array, "tiles rows columns"], Float[Array, "tiles rows columns"]]:
    (left, right), (dleft, dright) = primals, tangents
    tangent = matmul(dleft, right) + matmul(left, dright)
    return tiled_matmul(left, right), tangent


@jax.custom_batching.custom_vmap
def _product_of_tiles(
    left: Float[Array, "tiles rows inner"], right: Float[Array, "tiles inner columns"]
) -> Float[Array, "tiles rows columns"]:
    return matmul(left, right)


@_product_of_tiles.def_vmap
def _(
    axis_size: int,
    in_batched: Sequence[bool],
    left: Float[Array, "*batch tiles rows inner"],
    right: Float[Array, "*other_batch tiles inner columns"],
) -> tuple[Float[Array, "batch tiles rows columns"], bool]:
    def batched(
        tiles: Float[Array, "*batch tiles rows columns"], is_batched: bool
    ) -> Float[Array, "batch_and_tiles rows columns"]:
        if not is_batched:
            tiles = jnp.broadcast_to(tiles, (axis_size, *tiles.shape))
        return tiles.reshape(-1, *tiles.shape[2:])

    left, right = batched(left, in_batched[0]), batched(right, in_batched[1])
    # By itself again, for a batch of batches.
    product = _product_of_tiles(left, right)
    return product.reshape(axis_size, -1, *product.shape[1:]), True
