"""Several networks of one size, as tiles of neurons that one compiled program serves for all sizes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Integer, PyTree

from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._finite import all_finite, made_sense
from ratelike._dynamics._run_layer import FEWEST_PARTS
from ratelike._network import Layer, Network
from ratelike._numerics._tile_random import TILE, num_tiles
from ratelike._population._coding import with_count
from ratelike._population._sums import map_over_devices
from ratelike._signal._drive import GridPath
from ratelike._signal._error import mean_absolute_error
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import membrane_traces


class Tiles(eqx.Module):
    """Several networks of one size, cut into tiles of neurons."""

    layers: tuple[Layer, ...]  # arrays (tiles, tile, ...), and what all neurons share
    output_tau_m: Float[Array, "*tiles"]
    increments: Float[Array, "tiles time latents"]
    spike_key: Array  # (tiles,), equal within a network
    number: Integer[Array, " tiles"]  # of the tile in its network
    pool: Float[Array, "tiles tiles"]  # from sums over tiles to means over networks


def cut_into_tiles(
    networks: Network,
    drives: Array,
    spike_keys: Array,
    size: int,
    total: int,
) -> Tiles:
    """Networks with a leading axis, as tiles; the last tiles of the budget may belong to no network."""
    alike = jax.tree.map(_is_one_constant, networks)
    return _cut_into_tiles(networks, alike, drives, spike_keys, size, total)


@eqx.filter_jit  # operation by operation it would be a dozen programs for each size
def _cut_into_tiles(
    networks: Network,
    alike: PyTree[bool],
    drives: Array,
    spike_keys: Array,
    size: int,
    total: int,
) -> Tiles:
    count, tiles_each = drives.shape[0], num_tiles(size)
    owner = jnp.minimum(jnp.arange(total) // tiles_each, count - 1)
    used = jnp.arange(total) < count * tiles_each

    def cut(leaf, mode="edge"):
        if leaf.ndim == 0:
            return leaf
        if leaf.ndim == 1:
            # Where networks differ in a constant, it is given to each of their neurons.
            return jnp.repeat(leaf[owner, None], TILE, 1)
        pad = [(0, 0)] * (leaf.ndim - 2)
        leaf = jnp.pad(leaf, [(0, 0), (0, tiles_each * TILE - size), *pad], mode=mode)
        leaf = leaf.reshape(count * tiles_each, TILE, *leaf.shape[2:])
        return jnp.pad(leaf, [(0, total - len(leaf)), (0, 0), *pad], mode="edge")

    counted = [jax.vmap(with_count)(layer) for layer in networks.layers]
    networks = eqx.tree_at(lambda network: network.layers, networks, tuple(counted))
    # What neurons share is cheaper.
    networks = jax.tree.map(
        lambda leaf, once: leaf[0] if once else leaf, networks, alike
    )
    layers = []
    for layer in networks.layers:
        # What fills a tile copies a neuron, and decodes to nothing.
        tiles = jax.tree.map(cut, layer)
        silent = cut(layer.decoder, "constant")
        tiles = eqx.tree_at(lambda part: part.decoder, tiles, silent)
        if layer.feedback is not None:
            silent = cut(layer.feedback.decoder, "constant")
            tiles = eqx.tree_at(lambda part: part.feedback.decoder, tiles, silent)
        layers.append(tiles)
    together = (owner[:, None] == owner[None, :]) & used[:, None] & used[None, :]
    tau_m = networks.output_tau_m
    return Tiles(
        layers=tuple(layers),
        output_tau_m=tau_m if tau_m.ndim == 0 else tau_m[owner],
        increments=drives[owner],
        spike_key=spike_keys[owner],
        number=(jnp.arange(total) % tiles_each).astype(jnp.int32),
        pool=jnp.where(together, 1.0 / size, 0.0).astype(drives.dtype),
    )


def _is_one_constant(leaf: Array) -> bool:
    """Whether all neurons of all networks share it."""
    return leaf.ndim == 1 and bool(np.all(np.asarray(leaf) == np.asarray(leaf)[:1]))


# Operations on parts that fit into a core's cache are too small to share among cores; whole cells run beside each other.
# And XLA leaves half of the width of AVX-512 unused unless it is told to; where there is none this changes nothing.
@eqx.filter_jit(  # pyright: ignore[reportCallIssue]
    compiler_options={
        "xla_cpu_multi_thread_eigen": False,
        "xla_cpu_prefer_vector_width": 512,
    }
)
def errors_of_tiles(
    tiles: Tiles, grid: TimeGrid, dynamics, burn_in: int, mesh: Mesh | None
):
    """For every tile the errors and the rate of its network, and whether each dynamics made sense of all of them.

    One program for all sizes.
    """
    spiking, *rate_networks = [_outputs(tiles, grid, each, mesh) for each in dynamics]
    errors = [
        mean_absolute_error(spiking[0], outputs, burn_in=burn_in)
        for outputs, _, _ in rate_networks
    ]
    succeeded = jnp.stack([each[2] for each in (spiking, *rate_networks)])
    return errors, spiking[1], succeeded


def _outputs(
    tiles: Tiles, grid: TimeGrid, dynamics: AbstractDynamics, mesh: Mesh | None
):
    """Output membranes and mean rate of each tile's network, and whether all are finite."""

    def run(increments, inputs):
        layer, index = inputs
        keys = jax.vmap(jax.random.fold_in, (0, None))(tiles.spike_key, index)
        keys = jax.vmap(jax.random.fold_in)(keys, tiles.number)
        own, succeeded = _sums_over_tiles(
            layer, tiles.pool, increments, keys, grid, dynamics, mesh
        )
        pooled = jnp.einsum("ij,jnp->inp", tiles.pool, own, precision="highest")
        rates = jnp.mean(pooled[..., -1], axis=1) / grid.dt
        return pooled[..., :-1], (rates, succeeded)

    increments, (rates, succeeded) = _one_after_the_other(
        run, tiles.increments, tiles.layers
    )
    tau_axis = 0 if tiles.output_tau_m.ndim == 1 else None
    outputs = jax.vmap(membrane_traces, in_axes=(0, tau_axis, None))(
        increments, tiles.output_tau_m, grid.dt
    )
    return outputs, jnp.mean(rates, axis=0), jnp.all(succeeded) & all_finite(outputs)


def _one_after_the_other(run, increments, layers: tuple[Layer, ...]):
    """Scans over layers, compiled once, where they are alike."""
    arrays = [eqx.partition(layer, eqx.is_array) for layer in layers]
    alike = all(
        eqx.tree_equal(rest, arrays[0][1])
        and jax.tree.map(jnp.shape, some) == jax.tree.map(jnp.shape, arrays[0][0])
        for some, rest in arrays
    )
    if alike and layers[0].decoder.shape[-1] == increments.shape[-1] + 1:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)
        return jax.lax.scan(run, increments, (stacked, jnp.arange(len(layers))))
    seen = []
    for index, layer in enumerate(layers):
        increments, of_layer = run(increments, (layer, index))
        seen.append(of_layer)
    return increments, jax.tree.map(lambda *each: jnp.stack(each), *seen)


def _sums_over_tiles(
    layer: Layer,
    pool: Float[Array, "tiles tiles"],
    increments: Float[Array, "tiles time latents"],
    keys: Array,
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    mesh: Mesh | None,
) -> tuple[Float[Array, "tiles time decoded"], Bool[Array, ""]]:
    """Tiles of several networks advance together, as one population in which each tile has a path of its own."""
    total = len(keys)
    at_once = dynamics.neurons_at_once(layer.neuron, grid)
    if layer.feedback is not None:
        at_once = None  # tiles of one network have to wait for each other
    together = total
    if at_once is not None:
        together = min(total, at_once // TILE)
        if mesh is not None:
            together = min(together, -(-total // max(FEWEST_PARTS, mesh.size)))
    groups = -(-total // together)

    def grouped(leaf):
        padded = jnp.take(leaf, jnp.arange(groups * together), axis=0, mode="clip")
        return padded.reshape(groups, together, *leaf.shape[1:])

    def one_group(inputs):
        arrays, paths, tile_keys = inputs
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), arrays)
        path = GridPath(jnp.swapaxes(paths, 0, 1), grid)
        part = eqx.combine(flat, shared)
        if layer.feedback is not None:
            part = eqx.tree_at(_pool, part, pool, is_leaf=lambda leaf: leaf is None)
        output = dynamics(part, path, grid, tile_keys=tile_keys, recorded=None)
        return output.decoded, made_sense(part, path, output)

    arrays, shared = eqx.partition(layer, lambda leaf: leaf.ndim > 0)
    inputs = jax.tree.map(grouped, (arrays, increments, keys))
    decoded, succeeded = map_over_devices(one_group, inputs, mesh)
    decoded = jnp.swapaxes(decoded, 1, 2)  # (groups, together, time, decoded)
    return decoded.reshape(-1, *decoded.shape[2:])[:total], jnp.all(succeeded)


def _pool(layer: Layer) -> Array | None:
    assert layer.feedback is not None
    return layer.feedback.pool
