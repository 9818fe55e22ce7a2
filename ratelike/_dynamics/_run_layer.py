"""A layer as chunks of neurons, each small enough for the processor's cache."""

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
from jaxtyping import Array, Bool, Int

from ratelike._dynamics._base import AbstractContinuingDynamics, AbstractDynamics
from ratelike._dynamics._finite import made_sense
from ratelike._dynamics._incoming import Incoming, Piece
from ratelike._dynamics._second_run import is_many, second_run
from ratelike._network._stage import AbstractStage
from ratelike._numerics._tile_random import TILE
from ratelike._population._host_threads import HostThreads
from ratelike._population._layer_state import (
    AbstractLayerState,
    first_neurons,
    part_of_state,
)
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Decoded
from ratelike._population._record import Recorded
from ratelike._population._spike_trains import SpikeTrains
from ratelike._population._sums import SideBySide, Workers, caller
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
    spikes: SpikeTrains | None
    saved: PyTree
    succeeded: Bool[Array, ""]
    final: AbstractLayerState | None = None
    synapse: PyTree = None  # its state at the end


def run_layer(
    dynamics: AbstractDynamics,
    stage: AbstractStage,
    path: diffrax.AbstractPath[Any],
    grid: TimeGrid,
    *,
    key: Array | None,
    recorded: Recorded | None,
    workers: Workers,
    piece: Piece | None = None,
) -> LayerRun:
    """Neurons are independent given the path: chunks of the population run one after the other, and are put together.

    The chunks are shared out among `workers`. Neither the size of the chunks nor the number of workers changes a bit of
    what is decoded. What is recorded runs a second time, unless the population runs as a whole.
    """

    recorded = Recorded() if recorded is None else recorded
    # A second run would keep as much of many neurons, and take its time.
    many = recorded.every == 1 and is_many(recorded.neurons, stage.num_neurons)
    call = caller(workers)
    before = None if piece is None else piece.synapse
    synapse = None
    if stage.synapse is not None:
        path, synapse = call(
            through_synapse, stage.synapse, path, grid, stage.dtype, before
        )
    size = _chunk_size(dynamics, stage, grid, workers)
    incoming = Incoming(path, piece)
    run = eqx.Partial(_run, dynamics, grid, key)
    if size is None or stage.num_neurons <= size or many:
        whole = call(_run_whole, run, stage, incoming, grid, recorded)
        return dataclasses.replace(whole, synapse=synapse)
    arrays, rest = eqx.partition((stage, incoming), eqx.is_array)
    run_chunk = eqx.Partial(_run_chunk, run, rest, size // TILE)
    num_chunks = -(-stage.num_neurons // size)
    decoded, succeeded, *states = stage.over_chunks(
        run_chunk, num_chunks, workers, arrays
    )
    recording, spikes = second_run(
        run, stage, incoming, grid, recorded, size, workers, call
    )
    mean = call(_mean, stage, decoded)
    final = call(_final, states[0], stage.num_neurons) if states else None
    return LayerRun(mean, recording, spikes, None, succeeded, final, synapse)


def _run(
    dynamics: AbstractDynamics,
    grid: TimeGrid,
    key: Array | None,
    stage: AbstractStage,
    incoming: Incoming,
    first_tile: Int[Array, ""] | None = None,
    num_tiles: int | None = None,
    chosen: Int[Array, " recorded"] | None = None,
    all_spike: bool = False,
) -> LayerOutput:
    """The neurons of a chunk, or all."""
    population = stage.population(first_tile, num_tiles)
    own_path = stage.path(incoming.path, first_tile, num_tiles)
    keys = None if key is None else stage.tile_keys(key, first_tile, num_tiles)
    # Only for `Spiking`: see the checks of what is recorded.
    spikes: dict[str, Any] = dict(all_spike=True) if all_spike else {}
    common = dict(tile_keys=keys, recorded=chosen, **spikes)
    piece = incoming.piece
    if piece is None:
        output = dynamics(population, own_path, grid, **common)
    else:
        assert isinstance(dynamics, AbstractContinuingDynamics)
        initial = piece.initial
        if initial is not None and first_tile is not None and num_tiles is not None:
            initial = part_of_state(initial, first_tile, num_tiles)
        output = dynamics.run_piece(
            population, own_path, grid, **common, initial=initial
        )
    succeeded = made_sense(population, own_path, output)
    return eqx.tree_at(lambda o: o.succeeded, output, succeeded)


def _run_whole(
    run: Run,
    stage: AbstractStage,
    incoming: Incoming,
    grid: TimeGrid,
    recorded: Recorded,
) -> LayerRun:
    wants_spikes = recorded.spiking is not None
    output = run(stage, incoming, chosen=recorded.neurons, all_spike=wants_spikes)
    recording, spikes = output.recording, None
    if recording is not None:
        recording = recording.every_so_many(recorded.every)
    if output.spikes is not None:
        spikes = recorded.spike_trains(output.spikes.T, grid)
    mean = stage.mean(output.decoded)
    return LayerRun(
        mean, recording, spikes, output.saved, output.succeeded, output.final
    )


def _run_chunk(
    run: Run,
    rest: PyTree,
    num_tiles: int,
    index: Int[Array, ""],
    arrays: PyTree[Array],
) -> tuple[Any, ...]:
    """What it decodes, whether it succeeded, and for a piece its state."""
    stage, incoming = eqx.combine(arrays, rest)
    output = run(stage, incoming, index * num_tiles, num_tiles)
    if output.final is None:
        return output.decoded, output.succeeded
    return output.decoded, output.succeeded, SideBySide(output.final)


def _final(states: SideBySide, num_neurons: int) -> AbstractLayerState:
    return first_neurons(states.state, num_neurons)


def _mean(stage: AbstractStage, decoded: Decoded) -> Decoded:
    return stage.mean(decoded)


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
