"""Several networks of one size, as tiles of neurons that one compiled program serves for all sizes."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._drive import GridPath
from ratelike._dynamics._base import AbstractDynamics
from ratelike._error import mean_absolute_error
from ratelike._grid import TimeGrid
from ratelike._membrane import membrane_traces
from ratelike._network import Network
from ratelike._random import TILE, num_tiles

# Tiles that advance together: their densities have to stay in the processor's cache.
TILES_AT_ONCE = 64


class Tiles(eqx.Module):
    """Several networks of one size, cut into tiles of neurons."""

    network: Network  # every array with a leading axis of tiles
    increments: Float[Array, "tiles time latents"]
    spike_key: Array  # (tiles,), equal within a network
    number: Integer[Array, " tiles"]  # of the tile in its network
    pool: Float[Array, "tiles tiles"]  # from means over tiles to means over networks


def cut_into_tiles(
    networks: Network, drives: Array, spike_keys: Array, size: int, total: int
) -> Tiles:
    """Networks with a leading axis, as tiles; the last tiles of the budget may belong to no network."""
    count, tiles_each = drives.shape[0], num_tiles(size)
    owner = jnp.minimum(jnp.arange(total) // tiles_each, count - 1)
    used = jnp.arange(total) < count * tiles_each

    def cut(leaf, mode):
        # Arrays (networks, neurons, ...) are cut; those of shape (networks,) hold for all neurons.
        if leaf.ndim == 1:
            return leaf[owner]
        pad = [(0, 0)] * (leaf.ndim - 2)
        leaf = jnp.pad(leaf, [(0, 0), (0, tiles_each * TILE - size), *pad], mode=mode)
        leaf = leaf.reshape(count * tiles_each, TILE, *leaf.shape[2:])
        return jnp.pad(leaf, [(0, total - len(leaf)), (0, 0), *pad], mode="edge")

    # What fills a tile copies a neuron, and decodes to nothing. One more column of ones counts the spikes.
    filled = jax.tree.map(lambda leaf: cut(leaf, "edge"), networks)
    decoders = [
        cut(
            jnp.pad(layer.decoder, [(0, 0), (0, 0), (0, 1)], constant_values=1.0),
            "constant",
        )
        for layer in networks.layers
    ]
    filled = eqx.tree_at(
        lambda n: [layer.decoder for layer in n.layers], filled, decoders
    )
    together = (owner[:, None] == owner[None, :]) & used[:, None] & used[None, :]
    return Tiles(
        network=filled,
        increments=drives[owner],
        spike_key=spike_keys[owner],
        number=(jnp.arange(total) % tiles_each).astype(jnp.int32),
        pool=jnp.where(together, TILE / size, 0.0).astype(drives.dtype),
    )


@eqx.filter_jit
def errors_of_tiles(tiles: Tiles, grid: TimeGrid, dynamics, burn_in: int):
    """For every tile the error of its network: one program for all sizes."""
    spiking, *rate_networks = [_outputs(tiles, grid, each) for each in dynamics]
    errors = [
        mean_absolute_error(spiking[0], outputs, burn_in=burn_in)
        for outputs, _ in rate_networks
    ]
    return errors, spiking[1]


def _outputs(tiles: Tiles, grid: TimeGrid, dynamics: AbstractDynamics):
    """Output membranes and mean rate of each tile's network."""
    increments, rates = tiles.increments, []
    for index, layer in enumerate(tiles.network.layers):

        def one_tile(inputs, index=index):
            layer, increments, key, number = inputs
            output = dynamics(
                layer,
                GridPath(increments, grid),
                grid,
                key=jax.random.fold_in(key, index),
                first_tile=number,
                recorded=None,
            )
            return output.increments

        own = jax.lax.map(
            one_tile,
            (layer, increments, tiles.spike_key, tiles.number),
            batch_size=TILES_AT_ONCE,
        )
        pooled = jnp.einsum("ij,jnp->inp", tiles.pool, own, precision="highest")
        increments = pooled[..., :-1]
        rates.append(jnp.mean(pooled[..., -1], axis=1) / grid.dt)
    outputs = jax.vmap(membrane_traces, in_axes=(0, 0, None))(
        increments, tiles.network.output_tau_m, grid.dt
    )
    return outputs, jnp.mean(jnp.stack(rates), axis=0)
