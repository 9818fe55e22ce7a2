"""Random numbers that belong to a neuron, whatever else is simulated beside it.

Neurons are dealt into tiles of `TILE`; tile number t of a population draws from `fold_in(key, t)`. So the first n
neurons of a larger population are the smaller population, and any whole number of tiles can be simulated apart from
the others (in chunks, on another device) without changing a draw.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer, UInt

TILE = 64


def num_tiles(num_neurons: int) -> int:
    return -(-num_neurons // TILE)


def tile_keys(
    key: Array, num_neurons: int, first_tile: int | Integer[Array, ""] = 0
) -> Array:
    """One key for each tile that holds any of the neurons, shape (tiles,)."""
    tiles = first_tile + jnp.arange(num_tiles(num_neurons), dtype=jnp.int32)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, tiles)


def per_neuron(
    draw: Callable[[Array], Float[Array, "tile ..."]], keys: Array, num_neurons: int
) -> Float[Array, "neurons ..."]:
    """`draw(tile_key)`, of leading size `TILE`, for each tile; the last tile is cut to `num_neurons`."""
    tiles = jax.vmap(draw)(keys)
    return tiles.reshape(-1, *tiles.shape[2:])[:num_neurons]


def standard_exponential(
    tile_key: Array, index: Integer[Array, ""], dtype: DTypeLike
) -> Float[Array, " tile"]:
    """Exp(1) variates for block number `index`, from 32 random bits each, the same for float32 and float64 up to rounding.

    V = (bits + 1/2) / 2^32 is resolved finely near 0, where it matters: hazards down to 2^-33 per draw fire at their
    own rate, where `uniform() < p` has a floor at 2^-23. In float32, V is kept below 1, so a draw is at most 16.6 (the
    chance of a larger one is 6e-8).
    """
    return exponential_of_words(_random_words(tile_key, index), dtype)


def exponential_of_words(
    words: UInt[Array, "*shape"], dtype: DTypeLike
) -> Float[Array, "*shape"]:
    uniform = (words.astype(dtype) + 0.5) * 2.0**-32
    largest = 1.0 - float(jnp.finfo(dtype).epsneg)
    return -jnp.log1p(-jnp.minimum(uniform, largest))


def _random_words(
    tile_key: Array, index: Integer[Array, ""]
) -> Integer[Array, " tile"]:
    """Threefry at the counters (index, 0), (index, 1), ...: two words from each, which serve two neurons."""
    if str(jax.random.key_impl(tile_key)) != "threefry2x32":
        block_key = jax.random.fold_in(tile_key, index)
        return jax.random.bits(block_key, (TILE,), dtype=jnp.uint32)
    lanes = jnp.arange(TILE // 2, dtype=jnp.uint32)
    counters = jnp.stack([jnp.full_like(lanes, index), lanes])
    return threefry_2x32(jax.random.key_data(tile_key), counters).reshape(TILE)


Words = tuple[UInt[Array, "*shape"], UInt[Array, "*shape"]]


def threefry_words(key: Words, counter: Words) -> Words:
    """Threefry-2x32 with 20 rounds, element by element, where JAX's own primitive cannot be used.

    Salmon, Moraes, Dror and Shaw, *Parallel random numbers: as easy as 1, 2, 3* (2011).
    """
    keys = (*key, key[0] ^ key[1] ^ jnp.uint32(PARITY))
    first, second = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for distance in ROTATIONS[group % 2]:
            first = first + second
            turned = (second << distance) | (second >> (32 - distance))
            second = turned ^ first
        first = first + keys[(group + 1) % 3]
        second = second + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return first, second


PARITY = 0x1BD11BDA
ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
