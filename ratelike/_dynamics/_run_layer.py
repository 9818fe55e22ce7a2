"""A layer as a sum over parts of it, each small enough for the processor's cache."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PyTree

from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._finite import made_sense
from ratelike._network import AbstractLayer, Layer
from ratelike._numerics._tile_random import TILE, tile_keys
from ratelike._population._coding import with_count
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._sums import sum_over_devices, sum_over_parts, tree_sum
from ratelike._signal._grid import TimeGrid

# With several devices a population is cut into at least so many parts, on any smaller number of devices too.
FEWEST_PARTS = 8


class LayerRun(eqx.Module):
    """What a whole layer hands on, and what was asked for besides."""

    decoded: Float[Array, "time decoded"]  # sum_j D_j s_j, and the number of spikes
    recording: Recording | None
    saved: PyTree
    succeeded: Bool[Array, ""]


def run_layer(
    dynamics: AbstractDynamics,
    layer: AbstractLayer,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    *,
    key: Array | None,
    recorded: Integer[Array, " recorded"] | None,
    mesh: jax.sharding.Mesh | None,
) -> LayerRun:
    """Neurons are independent given the path: parts of the population run one after the other, and are added up.

    The parts are shared out among the devices of `mesh`. Neither the size of the parts nor the number of devices
    changes a bit of what is decoded. A few recorded neurons run a second time, each within its tile; with many, the
    population runs as a whole.
    """

    def run(part: Layer, first_tile, chosen=None) -> LayerOutput:
        keys = None if key is None else tile_keys(key, part.num_neurons, first_tile)
        output = dynamics(part, path, grid, tile_keys=keys, recorded=chosen)
        return eqx.tree_at(
            lambda o: o.succeeded, output, made_sense(part, path, output)
        )

    num_neurons = layer.num_neurons
    size = _part_size(dynamics, layer, grid, mesh)
    many = recorded is not None and len(recorded) * TILE >= num_neurons
    if size is None or num_neurons <= size or many:
        output = run(with_count(layer.stored()), 0, recorded)
        decoded = tree_sum(output.decoded)
        return LayerRun(decoded, output.recording, output.saved, output.succeeded)
    tiles_each = size // TILE

    def run_part(index):
        first_tile = index * tiles_each
        part = _counted(layer.part(first_tile, tiles_each), first_tile, num_neurons)
        output = run(part, first_tile)
        return tree_sum(output.decoded), output.succeeded

    decoded, succeeded = _total(run_part, -(-num_neurons // size), mesh)
    recording = None
    if recorded is not None:

        def one_neuron(neuron):
            tile = neuron // TILE
            part = _counted(layer.part(tile, 1), tile, num_neurons)
            return run(part, tile, (neuron % TILE)[None]).recording

        traces = jax.lax.map(one_neuron, recorded)
        recording = Recording(
            recorded, traces.potential[..., 0].T, traces.activity[..., 0].T
        )
    return LayerRun(decoded, recording, None, succeeded)


def _part_size(
    dynamics: AbstractDynamics,
    layer: AbstractLayer,
    grid: TimeGrid,
    mesh: jax.sharding.Mesh | None,
) -> int | None:
    if layer.feedback is not None:
        return None  # its neurons have to wait for each other
    size = dynamics.neurons_at_once(layer.neuron, grid)
    if size is None or mesh is None:
        return size
    share = layer.num_neurons // (TILE * max(FEWEST_PARTS, mesh.size))
    return min(size, TILE * 2 ** (max(1, share).bit_length() - 1))


def _counted(part: Layer, first_tile: Integer[Array, ""], num_neurons: int) -> Layer:
    """With a count of spikes. Neurons beyond the last one copy the first of the part, and decode to nothing."""
    index = first_tile * TILE + jnp.arange(part.num_neurons, dtype=jnp.int32)

    def where_neuron(leaf, otherwise):
        exists = (index < num_neurons).reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.where(exists, leaf, otherwise)

    decoder = with_count(part).decoder
    part = jax.tree.map(
        lambda leaf: where_neuron(leaf, leaf[:1]) if leaf.ndim > 0 else leaf, part
    )
    return eqx.tree_at(lambda p: p.decoder, part, where_neuron(decoder, 0.0))


def _total(run_part: Callable, count: int, mesh: jax.sharding.Mesh | None):
    if mesh is None:
        return sum_over_parts(run_part, count)
    return sum_over_devices(run_part, count, mesh)
