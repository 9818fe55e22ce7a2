"""Several networks of one size in one run: tiles of neurons, for which one compiled program serves all sizes."""

from collections.abc import Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ratelike._network._feedback import recurrence_of
from ratelike._network._layer import Layer
from ratelike._network._network import Network
from ratelike._network._stage import AbstractStage, RunChunk
from ratelike._neuron import AbstractNeuronModel
from ratelike._numerics._tile_random import TILE, num_tiles
from ratelike._population._population import Decoded, Population, population_of
from ratelike._population._sums import Workers, map_over_chunks
from ratelike._signal._drive import GridPath
from ratelike._signal._synapse import AbstractSynapse, map_apart
from ratelike._types import PyTree


class PackedStage(AbstractStage):
    """One layer of several networks, cut into tiles, each with a path of its own. Sums over tiles are kept apart.

    `layer` has arrays (tiles, tile, ...), and scalars where all neurons share a parameter. What fills up the last tile of
    a network copies a neuron, and decodes to nothing.
    """

    layer: Layer
    exists: Bool[Array, "tiles tile"]
    number: Int[Array, " tiles"]  # of the tile in its network
    pool: Float[Array, "tiles tiles"]  # from sums over tiles to means over networks

    @property
    def neuron(self) -> AbstractNeuronModel:
        return self.layer.neuron

    @property
    def num_neurons(self) -> int:
        return len(self.number) * TILE

    @property
    def is_recurrent(self) -> bool:
        return self.layer.feedback is not None

    @property
    def synapse(self) -> AbstractSynapse | None:
        """With axes of tiles, where the networks differ in it."""
        return self.layer.synapse

    @property
    def dtype(self) -> jnp.dtype:
        return self.layer.dtype

    def population(
        self, first_tile: Int[Array, ""] | None, num_tiles: int | None
    ) -> Population:
        def rows(leaf):
            if leaf.ndim == 0:
                return leaf
            chosen = _tiles(leaf, first_tile, num_tiles)
            return chosen.reshape(len(chosen) * chosen.shape[1], *leaf.shape[2:])

        layer = map_apart(rows, lambda synapse: synapse, self.layer)
        exists = rows(self.exists)
        return population_of(
            layer.neuron,
            layer.bias,
            layer.encoder,
            layer.decoder,
            exists=exists,
            recurrence=recurrence_of(layer.feedback, exists, self.pool),
            is_packed=True,
        )

    def path(
        self,
        path: diffrax.AbstractPath[Any],
        first_tile: Int[Array, ""] | None,
        num_tiles: int | None,
    ) -> diffrax.AbstractPath[Any]:
        assert isinstance(path, GridPath)
        return GridPath(_tiles(path.values, first_tile, num_tiles, axis=1), path.grid)

    def tile_keys(
        self, key: Array, first_tile: Int[Array, ""] | None, num_tiles: int | None
    ) -> Array:
        keys = jax.vmap(jax.random.fold_in)(key, self.number)
        return _tiles(keys, first_tile, num_tiles)

    def over_chunks(
        self, run_chunk: RunChunk, count: int, workers: Workers, arrays: PyTree[Array]
    ) -> tuple[Decoded, Bool[Array, ""]]:
        decoded, succeeded = map_over_chunks(run_chunk, count, workers, arrays)

        def side_by_side(chunks):  # (chunks, time, tiles of each, columns)
            tiles = jnp.moveaxis(chunks, 0, 1)
            tiles = tiles.reshape(tiles.shape[0], -1, tiles.shape[-1])
            return tiles[:, : len(self.number)]

        return jax.tree.map(side_by_side, decoded), jnp.all(succeeded)

    def mean(self, decoded: Decoded) -> Decoded:
        def pooled(of_tiles):
            sums = jnp.swapaxes(of_tiles, 0, 1)
            means = jnp.einsum("ij,jnp->inp", self.pool, sums, precision="highest")
            return jnp.swapaxes(means, 0, 1)

        return jax.tree.map(pooled, decoded)


def _tiles(
    array: Array,
    first_tile: Int[Array, ""] | None,
    num_tiles: int | None,
    axis: int = 0,
) -> Array:
    """The entries of a chunk; beyond the last tile, those of the last one."""
    if first_tile is None or num_tiles is None:
        return array
    chosen = first_tile + jnp.arange(num_tiles, dtype=jnp.int32)
    return jnp.take(array, chosen, axis=axis, mode="clip")


class PackedNetworks(eqx.Module):
    """Several networks of one size side by side, with what each of their tiles receives."""

    stages: tuple[PackedStage, ...]
    output_tau_m: Float[Array, "*tiles"]
    increments: Float[Array, "time tiles latents"]
    spike_keys: Array  # (tiles,), equal within a network


def pack(
    networks: Network,
    drives: Sequence[Float[Array, "time latents"]],
    spike_keys: Array,
    size: int,
    total: int,
) -> PackedNetworks:
    """Networks of `size` neurons a layer, with a leading axis, in `total` tiles; the last ones may be of no network.

    `drives` has the increments for each network.
    """
    alike = jax.tree.map(_is_one_constant, networks)
    return _pack(networks, alike, drives, spike_keys, size, total)


@eqx.filter_jit  # operation by operation it would be a dozen programs for each size
def _pack(
    networks: Network,
    alike: PyTree[bool],
    of_networks: Sequence[Float[Array, "time latents"]],
    spike_keys: Array,
    size: int,
    total: int,
) -> PackedNetworks:
    drives = jnp.stack(of_networks)
    count, tiles_each = len(drives), num_tiles(size)
    tile = jnp.arange(total, dtype=jnp.int32)
    owner, used = jnp.minimum(tile // tiles_each, count - 1), tile < count * tiles_each

    def cut(leaf):
        if leaf.ndim == 0:
            return leaf
        if leaf.ndim == 1:
            # Where networks differ in a constant, it is given to each of their neurons.
            return jnp.repeat(leaf[owner, None], TILE, 1)
        rest = [(0, 0)] * (leaf.ndim - 2)
        filled_up = [(0, 0), (0, tiles_each * TILE - size), *rest]
        tiles = jnp.pad(leaf, filled_up, mode="edge")
        tiles = tiles.reshape(count * tiles_each, TILE, *leaf.shape[2:])
        return jnp.pad(tiles, [(0, total - len(tiles)), (0, 0), *rest], mode="edge")

    def cut_synapse(synapse):
        def of_tiles(leaf):  # (networks,), or (networks, latents)
            return leaf if leaf.ndim == 0 else leaf[owner].reshape(total, -1)

        return jax.tree.map(of_tiles, synapse)

    # What neurons share is cheaper.
    networks = jax.tree.map(
        lambda leaf, once: leaf[0] if once else leaf, networks, alike
    )
    number = tile % tiles_each
    neurons = number[:, None] * TILE + jnp.arange(TILE, dtype=jnp.int32)
    together = (owner[:, None] == owner[None, :]) & used[:, None] & used[None, :]
    pool = jnp.where(together, 1.0 / size, 0.0).astype(drives.dtype)
    stages = tuple(
        PackedStage(map_apart(cut, cut_synapse, layer), neurons < size, number, pool)
        for layer in networks.layers
    )
    tau_m = networks.output_tau_m
    return PackedNetworks(
        stages=stages,
        output_tau_m=tau_m if tau_m.ndim == 0 else tau_m[owner],
        increments=jnp.swapaxes(drives[owner], 0, 1),
        spike_keys=spike_keys[owner],
    )


def _is_one_constant(leaf: Array) -> bool:
    """Whether all neurons of all networks share it."""
    return leaf.ndim == 1 and bool(np.all(np.asarray(leaf) == np.asarray(leaf)[:1]))
