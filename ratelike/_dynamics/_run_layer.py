"""A layer as a sum over parts of it, each small enough for the processor's cache."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PyTree

from ratelike._dynamics._base import AbstractDynamics, LayerOutput, Recording
from ratelike._grid import TimeGrid
from ratelike._network import Layer
from ratelike._population import tree_sum
from ratelike._random import TILE, tile_keys


class LayerRun(eqx.Module):
    """What a whole layer hands on, and what was asked for besides."""

    decoded: Float[Array, "time decoded"]  # sum_j D_j s_j
    recording: Recording | None
    saved: PyTree
    succeeded: Bool[Array, ""]


def run_layer(
    dynamics: AbstractDynamics,
    layer: Layer,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    *,
    key: Array | None,
    recorded: Integer[Array, " recorded"] | None,
) -> LayerRun:
    """Neurons are independent given the path: parts of the population run one after the other, and are added up.

    What is decoded does not depend on the size of the parts, to the last bit. A few recorded neurons run a second time,
    each within its tile; with many, the population runs as a whole.
    """

    def run(part: Layer, first_tile, chosen=None) -> LayerOutput:
        keys = None if key is None else tile_keys(key, part.num_neurons, first_tile)
        return dynamics(part, path, grid, tile_keys=keys, recorded=chosen)

    size = dynamics.neurons_at_once(layer.neuron, grid)
    if layer.feedback is not None:
        size = None  # its neurons have to wait for each other
    most = recorded is not None and len(recorded) * TILE >= layer.num_neurons
    if size is None or layer.num_neurons <= size or most:
        output = run(layer, 0, recorded)
        decoded = tree_sum(output.decoded)
        return LayerRun(decoded, output.recording, output.saved, output.succeeded)

    def one_part(inputs):
        arrays, index = inputs
        output = run(eqx.combine(arrays, shared), index * (size // TILE))
        return tree_sum(output.decoded), output.succeeded

    count = -(-layer.num_neurons // size)
    arrays, shared = _parts(layer, count, size)
    inputs = (arrays, jnp.arange(count, dtype=jnp.int32))
    decoded, succeeded = jax.lax.map(one_part, inputs)
    recording = None
    if recorded is not None:

        def one_neuron(neuron):
            tile = neuron // TILE
            return run(_tile(layer, tile), tile, (neuron % TILE)[None]).recording

        traces = jax.lax.map(one_neuron, recorded.astype(jnp.int32))
        recording = Recording(
            recorded, traces.potential[..., 0].T, traces.activity[..., 0].T
        )
    total = tree_sum(jnp.swapaxes(decoded, 0, 1))
    return LayerRun(total, recording, None, jnp.all(succeeded))


def _parts(layer: Layer, count: int, size: int) -> tuple[PyTree, PyTree]:
    """Arrays over neurons with a leading axis of parts, and what all neurons share.

    What fills up the last part copies a neuron, and decodes to nothing.
    """

    def cut(leaf, mode):
        padding = [(0, count * size - len(leaf))] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, padding, mode=mode).reshape(count, size, *leaf.shape[1:])

    arrays, shared = eqx.partition(layer, lambda leaf: leaf.ndim > 0)
    decoder = cut(layer.decoder, "constant")
    parts = jax.tree.map(lambda leaf: cut(leaf, "edge"), arrays)
    return eqx.tree_at(lambda part: part.decoder, parts, decoder), shared


def _tile(layer: Layer, tile: Integer[Array, ""]) -> Layer:
    neurons = tile * TILE + jnp.arange(TILE, dtype=jnp.int32)
    neurons = jnp.minimum(neurons, layer.num_neurons - 1)
    return jax.tree.map(lambda leaf: leaf[neurons] if leaf.ndim > 0 else leaf, layer)
