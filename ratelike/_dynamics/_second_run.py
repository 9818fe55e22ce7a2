"""What is recorded of a layer that runs in chunks: its neurons once more, as many at a time as memory allows."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt

from ratelike._dynamics._incoming import Incoming
from ratelike._network._stage import AbstractStage
from ratelike._numerics._tile_random import TILE
from ratelike._population._host_threads import HostThreads, map_in_threads
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._record import Recorded
from ratelike._population._spike_trains import (
    BITS,
    SpikeTrains,
    last_word,
    packed,
    without_fillers,
)
from ratelike._population._sums import Workers, map_over_chunks
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree

Run = Callable[..., LayerOutput]
# Calls a function of arrays, as a program of its own or not.
Call = Callable[..., Any]

# Potentials of a chunk, and as many activities: 32 MB of each in float32.
NUMBERS_AT_ONCE = 2**23
ALIGNED_BYTES = 64  # XLA's arrays on a processor begin at multiples of it


def is_many(neurons: Int[Array, " recorded"] | None, num_neurons: int) -> bool:
    """Whether one after the other, each within its tile, they would take longer than all."""
    return neurons is not None and len(neurons) * TILE >= num_neurons


def second_run(
    run: Run,
    stage: AbstractStage,
    incoming: Incoming,
    grid: TimeGrid,
    recorded: Recorded,
    size: int,
    workers: Workers,
    call: Call,
) -> tuple[Recording | None, SpikeTrains | None]:
    """Few neurons run one after the other, each within its tile; many in chunks, those of spikes of `size` neurons."""
    arrays, rest = eqx.partition((stage, incoming), eqx.is_array)
    count = stage.num_neurons

    def over_chunks(record: Callable[..., PyTree], num_tiles: int, *args: Any) -> Any:
        each = eqx.Partial(record, run, rest, num_tiles, *args)
        num_chunks = -(-count // (TILE * num_tiles))
        return map_over_chunks(each, num_chunks, workers, arrays)

    recording = spikes = None
    every = recorded.every
    if is_many(recorded.neurons, count):
        largest = max(1, NUMBERS_AT_ONCE // (TILE * grid.num_steps))
        num_tiles = min(2 ** (largest.bit_length() - 1), size // TILE)
        chunks = over_chunks(_traces_of_chunk, num_tiles, every)
        recording = call(_of_chunks, chunks, recorded.neurons)
    elif recorded.neurons is not None:
        recording = call(_traces, run, stage, incoming, recorded.neurons, every)
    if recorded.all_spike or is_many(recorded.spiking, count):
        of_chunk = eqx.Partial(_spikes_of_chunk, run, rest, size // TILE)
        words = _words(of_chunk, arrays, size, count, grid, workers)
        if recorded.all_spike:  # as they are: a program would copy them
            spikes = recorded.spike_trains(words, grid)
        else:
            spikes = call(recorded.spike_trains, words, grid)
    elif recorded.spiking is not None:
        spikes = call(_trains, run, stage, incoming, recorded.spiking, grid)
    return recording, spikes


def _traces(
    run: Run,
    stage: AbstractStage,
    incoming: Incoming,
    neurons: Int[Array, " recorded"],
    every: int,
) -> Recording:
    def one_neuron(neuron):
        of_one = (neuron % TILE)[None]
        recording = run(stage, incoming, neuron // TILE, 1, of_one).recording
        assert recording is not None
        return recording.every_so_many(every)

    traces = jax.lax.map(one_neuron, neurons)
    potential, activity = traces.potential[..., 0].T, traces.activity[..., 0].T
    return Recording(neurons, potential, activity, every)


def _traces_of_chunk(
    run: Run,
    rest: PyTree,
    num_tiles: int,
    every: int,
    index: Int[Array, ""],
    arrays: PyTree[Array],
) -> Recording:
    stage, incoming = eqx.combine(arrays, rest)
    everyone = jnp.arange(TILE * num_tiles, dtype=jnp.int32)
    recording = run(stage, incoming, index * num_tiles, num_tiles, everyone).recording
    assert recording is not None
    return recording.every_so_many(every)


def _of_chunks(chunks: Recording, neurons: Int[Array, " recorded"]) -> Recording:
    def chosen(values: Array) -> Array:  # (chunks, time, neurons of each)
        values = jnp.moveaxis(values, 0, 1)
        return values.reshape(values.shape[0], -1)[:, neurons]

    potential, activity = chosen(chunks.potential), chosen(chunks.activity)
    return Recording(neurons, potential, activity, chunks.every)


def _trains(
    run: Run,
    stage: AbstractStage,
    incoming: Incoming,
    neurons: Int[Array, " recorded"],
    grid: TimeGrid,
) -> SpikeTrains:
    activity = _traces(run, stage, incoming, neurons, 1).activity
    return SpikeTrains(neurons, packed(activity).T, grid)


def _spikes_of_chunk(
    run: Run,
    rest: PyTree,
    num_tiles: int,
    index: Int[Array, ""],
    arrays: PyTree[Array],
) -> UInt[Array, "words time"]:
    stage, incoming = eqx.combine(arrays, rest)
    output = run(stage, incoming, index * num_tiles, num_tiles, all_spike=True)
    assert output.spikes is not None
    return output.spikes.T


def _words(
    of_chunk: Callable[..., UInt[Array, "words time"]],
    arrays: PyTree[Array],
    size: int,
    num_neurons: int,
    grid: TimeGrid,
    workers: Workers,
) -> UInt[Array, "words time"]:
    """Of all neurons, from chunks of `size`."""
    num_chunks = -(-num_neurons // size)
    if not isinstance(workers, HostThreads):
        words = map_over_chunks(of_chunk, num_chunks, workers, arrays)
        return without_fillers(words.reshape(-1, grid.num_steps), num_neurons)
    # Each chunk goes to its place at once: the whole is in memory once, not as chunks, too.
    whole = _aligned((-(-num_neurons // BITS), grid.num_steps), np.uint32)

    def keep(number: int, words: Array) -> None:
        rows = slice(number * size // BITS, (number + 1) * size // BITS)
        whole[rows] = words[: len(whole[rows])]

    map_in_threads(of_chunk, num_chunks, workers, arrays, keep=keep)
    if num_neurons % BITS > 0:
        whole[-1] &= last_word(num_neurons)
    return jax.device_put(whole, may_alias=True)


def _aligned(shape: tuple[int, int], dtype: type[np.uint32]) -> np.ndarray:
    """Memory that JAX takes as it is, without a copy."""
    count, size = math.prod(shape), np.dtype(dtype).itemsize
    memory = np.empty(count + ALIGNED_BYTES // size, dtype)
    first = (-memory.ctypes.data % ALIGNED_BYTES) // size
    return memory[first : first + count].reshape(shape)
