"""A layer as chunks of neurons, each small enough for the processor's cache."""

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
from ratelike._population._host_threads import HostThreads, call_compiled
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Decoded
from ratelike._population._sums import Workers
from ratelike._signal._grid import TimeGrid
from ratelike._signal._synapse import through_synapse
from ratelike._types import PyTree

Run = Callable[..., LayerOutput]

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
    workers: Workers,
) -> LayerRun:
    """Neurons are independent given the path: chunks of the population run one after the other, and are put together.

    The chunks are shared out among `workers`. Neither the size of the chunks nor the number of workers changes a bit of
    what is decoded. A few recorded neurons run a second time, each within its tile; with many, the
    population runs as a whole.
    """

    # Threads run programs: here nothing is traced.
    call = call_compiled if isinstance(workers, HostThreads) else _call
    if stage.synapse is not None:
        path, _ = call(through_synapse, stage.synapse, path, grid, stage.dtype)
    size = _chunk_size(dynamics, stage, grid, workers)
    many = recorded is not None and len(recorded) * TILE >= stage.num_neurons
    run = eqx.Partial(_run, dynamics, grid, key)
    if size is None or stage.num_neurons <= size or many:
        return call(_run_whole, run, stage, path, recorded)
    arrays, rest = eqx.partition((stage, path), eqx.is_array)
    run_chunk = eqx.Partial(_run_chunk, run, rest, size // TILE)
    num_chunks = -(-stage.num_neurons // size)
    decoded, succeeded = stage.over_chunks(run_chunk, num_chunks, workers, arrays)
    recording = None
    if recorded is not None:
        recording = call(_recording, run, stage, path, recorded)
    return LayerRun(call(_mean, stage, decoded), recording, None, succeeded)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _run(
    dynamics: AbstractDynamics,
    grid: TimeGrid,
    key: Array | None,
    stage: AbstractStage,
    path: diffrax.AbstractPath[Any],
    first_tile: Int[Array, ""] | None = None,
    num_tiles: int | None = None,
    chosen: Int[Array, " recorded"] | None = None,
) -> LayerOutput:
    """The neurons of a chunk, or all."""
    population = stage.population(first_tile, num_tiles)
    own_path = stage.path(path, first_tile, num_tiles)
    keys = None if key is None else stage.tile_keys(key, first_tile, num_tiles)
    output = dynamics(population, own_path, grid, tile_keys=keys, recorded=chosen)
    succeeded = made_sense(population, own_path, output)
    return eqx.tree_at(lambda o: o.succeeded, output, succeeded)


def _run_whole(
    run: Run,
    stage: AbstractStage,
    path: diffrax.AbstractPath[Any],
    recorded: Int[Array, " recorded"] | None,
) -> LayerRun:
    output = run(stage, path, chosen=recorded)
    mean = stage.mean(output.decoded)
    return LayerRun(mean, output.recording, output.saved, output.succeeded)


def _run_chunk(
    run: Run,
    rest: PyTree,
    num_tiles: int,
    index: Int[Array, ""],
    arrays: PyTree[Array],
) -> tuple[Decoded, Bool[Array, ""]]:
    stage, path = eqx.combine(arrays, rest)
    output = run(stage, path, index * num_tiles, num_tiles)
    return output.decoded, output.succeeded


def _mean(stage: AbstractStage, decoded: Decoded) -> Decoded:
    return stage.mean(decoded)


def _recording(
    run: Run,
    stage: AbstractStage,
    path: diffrax.AbstractPath[Any],
    recorded: Int[Array, " recorded"],
) -> Recording:
    """Each recorded neuron runs within its tile."""

    def one_neuron(neuron):
        return run(stage, path, neuron // TILE, 1, (neuron % TILE)[None]).recording

    traces = jax.lax.map(one_neuron, recorded)
    return Recording(recorded, traces.potential[..., 0].T, traces.activity[..., 0].T)


def _chunk_size(
    dynamics: AbstractDynamics,
    stage: AbstractStage,
    grid: TimeGrid,
    workers: Workers,
) -> int | None:
    """Neurons, `TILE` times a power of two; None where all have to advance together."""
    if stage.is_recurrent:
        return None
    size = dynamics.neurons_at_once(stage.neuron, grid)
    if size is None or workers is None:
        return size
    if isinstance(workers, HostThreads):
        return _soonest_finished(stage.num_neurons, size, workers)
    of_a_chunk = stage.num_neurons // (TILE * max(FEWEST_CHUNKS, workers.size))
    return min(size, TILE * 2 ** (max(1, of_a_chunk).bit_length() - 1))


def _soonest_finished(num_neurons: int, largest: int, threads: HostThreads) -> int:
    """The size with which the last thread is done first; a chunk takes the time of `TILE` neurons by itself."""

    def duration(size: int) -> int:
        num_chunks = -(-num_neurons // size)
        return -(-num_chunks // threads.number) * (size + TILE)

    sizes = [TILE * 2**i for i in range((largest // TILE).bit_length())]
    return min(reversed(sizes), key=duration)
