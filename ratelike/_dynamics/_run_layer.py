"""A layer as chunks of neurons, each small enough for the processor's cache."""

import functools
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
from jaxtyping import Array, Bool, Int

from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._finite import made_sense
from ratelike._network._stage import AbstractStage
from ratelike._numerics._tile_random import TILE
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Decoded
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree

# With several devices a population is cut into at least so many chunks, on any smaller number of devices too.
FEWEST_CHUNKS = 8


class LayerRun(eqx.Module):
    """What a whole layer hands on, and what was asked for besides."""

    mean: (
        Decoded  # per neuron: dY = (1/N) sum_j D_j dN_j, and the mean number of spikes
    )
    recording: Recording | None
    saved: PyTree
    succeeded: Bool[Array, ""]


def run_layer(
    dynamics: AbstractDynamics,
    stage: AbstractStage,
    path: diffrax.AbstractPath[Any],
    grid: TimeGrid,
    *,
    key: Array | None,
    recorded: Int[Array, " recorded"] | None,
    mesh: jax.sharding.Mesh | None,
) -> LayerRun:
    """Neurons are independent given the path: chunks of the population run one after the other, and are put together.

    The chunks are shared out among the devices of `mesh`. Neither the size of the chunks nor the number of devices
    changes a bit of what is decoded. A few recorded neurons run a second time, each within its tile; with many, the
    population runs as a whole.
    """

    def run(
        stage: AbstractStage,
        path: diffrax.AbstractPath[Any],
        first_tile: Int[Array, ""] | None,
        num_tiles: int | None,
        chosen: Int[Array, " recorded"] | None,
    ) -> LayerOutput:
        population = stage.population(first_tile, num_tiles)
        own_path = stage.path(path, first_tile, num_tiles)
        keys = None if key is None else stage.tile_keys(key, first_tile, num_tiles)
        output = dynamics(population, own_path, grid, tile_keys=keys, recorded=chosen)
        succeeded = made_sense(population, own_path, output)
        return eqx.tree_at(lambda o: o.succeeded, output, succeeded)

    size = _chunk_size(dynamics, stage, grid, mesh)
    many = recorded is not None and len(recorded) * TILE >= stage.num_neurons
    if size is None or stage.num_neurons <= size or many:
        output = run(stage, path, None, None, recorded)
        mean = stage.mean(output.decoded)
        return LayerRun(mean, output.recording, output.saved, output.succeeded)

    arrays, rest = eqx.partition((stage, path), eqx.is_array)

    def run_chunk(
        index: Int[Array, ""], arrays: PyTree[Array]
    ) -> tuple[Decoded, Bool[Array, ""]]:
        stage, path = eqx.combine(arrays, rest)
        output = run(stage, path, index * (size // TILE), size // TILE, None)
        return output.decoded, output.succeeded

    num_chunks = -(-stage.num_neurons // size)
    decoded, succeeded = stage.over_chunks(run_chunk, num_chunks, mesh, arrays)
    recording = None
    if recorded is not None:
        recording = _recording(functools.partial(run, stage, path), recorded)
    return LayerRun(stage.mean(decoded), recording, None, succeeded)


def _recording(
    run: Callable[..., LayerOutput], recorded: Int[Array, " recorded"]
) -> Recording:
    """Each recorded neuron runs within its tile."""

    def one_neuron(neuron):
        return run(neuron // TILE, 1, (neuron % TILE)[None]).recording

    traces = jax.lax.map(one_neuron, recorded)
    return Recording(recorded, traces.potential[..., 0].T, traces.activity[..., 0].T)


def _chunk_size(
    dynamics: AbstractDynamics,
    stage: AbstractStage,
    grid: TimeGrid,
    mesh: jax.sharding.Mesh | None,
) -> int | None:
    """Neurons, `TILE` times a power of two; None where all have to advance together."""
    if stage.is_recurrent:
        return None
    size = dynamics.neurons_at_once(stage.neuron, grid)
    if size is None or mesh is None:
        return size
    of_a_chunk = stage.num_neurons // (TILE * max(FEWEST_CHUNKS, mesh.size))
    return min(size, TILE * 2 ** (max(1, of_a_chunk).bit_length() - 1))
