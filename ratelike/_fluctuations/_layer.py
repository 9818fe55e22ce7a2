"""A layer with its fluctuations: a sum over blocks of neurons, each of which runs over all of time."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ratelike._density._age_mesh import AgeMesh
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._fluctuations._block import (
    Fluctuations,
    Noise,
    Readout,
    number_of_probes,
    run_block,
)
from ratelike._fluctuations._cohort_blocks import run_cohorts
from ratelike._fluctuations._cohort_steps import at_once
from ratelike._fluctuations._cohorts import Aging, aging, merge_schedule
from ratelike._network import Layer
from ratelike._neuron._hazards import shared_factors
from ratelike._numerics import _platform as platform
from ratelike._numerics._tile_random import TILE, num_tiles, tile_keys
from ratelike._population._sums import KEPT_SUMS, Workers, caller, sum_over_chunks
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree

# Neurons that advance together: their densities, one for each probe, have to stay in the processor's cache; on a GPU so
# many that a step takes longer than its launches, with 200 ages in a memory of 2 GB.
NEURONS_IN_CACHE, NEURONS_ON_GPU = 4 * TILE, 2**13
# Neurons in one vector of a processor: with a few left over, a loop over them takes a tenth longer.
TOGETHER = 8
# Blocks of neurons whose states between blocks of steps are kept in reverse mode; of more they are computed once again.
FEW = 16


class Block(NamedTuple):
    """Neurons that advance together."""

    layer: Layer
    readout: Readout | None
    tile_keys: Array | None


def layer_fluctuations(
    layer: Layer,
    increments: Float[Array, "time latents"],
    incoming: Float[Array, "time probes latents"] | None,
    grid: TimeGrid,
    *,
    noise: Noise | None,
    readout: Readout | None,
    age_mesh: AgeMesh,
    workers: Workers,
) -> Fluctuations:
    """What the neurons of `layer` hand on, divided by their number.

    No density is stored over time, and none of more neurons than advance together exists at a time (on each device of a
    mesh, or in each thread). Neighbouring blocks are added one after the other to `KEPT_SUMS` sums or fewer, and these in
    a binary tree: so the devices may be of any number, and the derivative by the connections takes a time that is linear
    in that of the neurons.
    """
    call = caller(workers)
    schedule = merge_schedule(age_mesh, layer.neuron, grid.dt)
    fast = None
    if incoming is None and noise is None and shared_factors(layer.neuron) is not None:
        fast = schedule
    of_layer = layer, increments, incoming, grid, noise, readout, schedule
    blocks, others = call(_prepared, *of_layer, fast is not None)
    num_probes = number_of_probes(incoming, noise)
    run_chunk = eqx.Partial(_run_chunk, grid, num_probes, fast)
    num_chunks = len(blocks.layer.encoder)
    sums = sum_over_chunks(run_chunk, num_chunks, workers, blocks, *others)
    return call(_divided, sums, layer.num_neurons)


def _prepared(
    layer: Layer,
    increments: Float[Array, "time latents"],
    incoming: Float[Array, "time probes latents"] | None,
    grid: TimeGrid,
    noise: Noise | None,
    readout: Readout | None,
    schedule: MergeSchedule | None,
    fast: bool,
) -> tuple[Block, tuple[PyTree, ...]]:
    """Blocks of neurons, and what they share: a part of themselves, the input, and how cohorts age."""
    increments, incoming, layer = received(layer, increments, incoming, grid)
    blocks, shared = _blocks(layer, noise, readout, fast)
    agings = None
    if schedule is not None and not fast:
        steps = jnp.arange(len(increments), dtype=jnp.int32)
        agings = aging(schedule, steps, layer.dtype)
    return blocks, (shared, increments, incoming, agings)


def _run_chunk(
    grid: TimeGrid,
    num_probes: int,
    fast: MergeSchedule | None,
    index: Int[Array, ""],
    blocks: Block,
    shared: Block,
    increments: Float[Array, "time latents"],
    incoming: Float[Array, "time probes latents"] | None,
    agings: Aging | None,
) -> Fluctuations:
    """Blocks one after the other."""

    def add_block(
        total: Fluctuations,
        own: Block,
        shared: Block,
        increments: Float[Array, "time latents"],
        incoming: Float[Array, "time probes latents"] | None,
        agings: Aging | None,
    ) -> Fluctuations:
        inputs, block = (increments, incoming), eqx.combine(own, shared)
        of_block = _run(block, inputs, grid, num_probes, agings, fast)
        return jax.tree.map(jnp.add, total, of_block)

    if fast is None or math.prod(blocks.layer.encoder.shape[:2]) > FEW:
        add_block = jax.checkpoint(add_block, prevent_cse=False)
    others = shared, increments, incoming, agings
    nothing = _no_output(blocks, len(increments), num_probes)
    of_chunk = jax.tree.map(lambda leaf: leaf[index], blocks)
    return jax.lax.scan(
        lambda total, own: (add_block(total, own, *others), None), nothing, of_chunk
    )[0]


def _divided(sums: Fluctuations, size: int) -> Fluctuations:
    rate, perturbed, variance = sums
    perturbed = None if perturbed is None else perturbed / size
    return Fluctuations(
        rate / size, perturbed, None if variance is None else variance / size**2
    )


def received(
    layer: Layer,
    increments: Float[Array, "time latents"],
    incoming: Float[Array, "time probes latents"] | None,
    grid: TimeGrid,
) -> tuple[
    Float[Array, "time latents"], Float[Array, "time probes latents"] | None, Layer
]:
    """What the neurons receive, of the rate and of the noise around it, and the layer without its synapse."""
    synapse = layer.synapse
    if synapse is None:
        return increments, incoming, layer

    def filtered(signal: Array) -> Array:
        initial = synapse.initial(signal.shape[1:], signal.dtype, grid.dt)
        return synapse(initial, signal, grid.dt)[1]

    layer = eqx.tree_at(lambda layer: layer.synapse, layer, None)
    incoming = None if incoming is None else filtered(incoming)
    return filtered(increments), incoming, layer


def _run(
    block: Block,
    inputs: tuple[
        Float[Array, "time latents"], Float[Array, "time probes latents"] | None
    ],
    grid: TimeGrid,
    num_probes: int,
    agings: Aging | None,
    fast: MergeSchedule | None,
) -> Fluctuations:
    """One block of neurons; `fast` where it needs no more than what `run_cohorts` knows."""
    if fast is not None and block.readout is not None:
        return run_cohorts(block.layer, inputs[0], grid, block.readout, fast)
    noise = None
    if block.tile_keys is not None:
        noise = Noise(block.tile_keys, num_probes)
    return run_block(block.layer, *inputs, grid, noise, block.readout, agings)


def _neurons_at_once() -> int:
    return NEURONS_ON_GPU if platform.has_gpu() else NEURONS_IN_CACHE


def _blocks(
    layer: Layer, noise: Noise | None, readout: Readout | None, fast: bool
) -> tuple[Block, Block]:
    """Arrays (chunks, blocks of a chunk, neurons of a block, ...), and beside them what all blocks share."""
    num_neurons = layer.num_neurons
    num_blocks = -(-num_neurons // (at_once() if fast else _neurons_at_once()))
    size = TOGETHER * -(-num_neurons // TOGETHER) if fast else num_neurons
    if num_blocks > 1:
        size = TILE * -(-num_tiles(num_neurons) // num_blocks)
    together = -(-num_blocks // KEPT_SUMS)
    shape = -(-num_blocks // together), together, size
    total = math.prod(shape)

    def cut(leaf: Array, mode: str = "edge") -> Array:
        padding = [(0, total - num_neurons)] + [(0, 0)] * (leaf.ndim - 1)
        return jnp.pad(leaf, padding, mode=mode).reshape(*shape, *leaf.shape[1:])

    # What fills the last block copies a neuron, and decodes to nothing.
    def decoders(block: Block) -> list[Any]:  # equinox asks for the places of leaves
        if block.readout is None:
            return [block.layer.decoder]
        return [block.layer.decoder, block.readout.decoder_products]

    whole = Block(layer, readout, None)
    arrays, shared = eqx.partition(whole, lambda leaf: leaf.ndim > 0)
    blocks = jax.tree.map(cut, arrays)
    zero_padded = [cut(leaf, "constant") for leaf in decoders(whole)]
    blocks = eqx.tree_at(decoders, blocks, zero_padded)
    if noise is not None:
        keys = tile_keys(noise.key, total).reshape(*shape[:2], -1)
        blocks = blocks._replace(tile_keys=keys)
    return blocks, shared


def _no_output(blocks: Block, num_steps: int, num_probes: int) -> Fluctuations:
    decoder, readout = blocks.layer.decoder, blocks.readout
    latents, dtype = decoder.shape[-1], decoder.dtype
    probes = variance = None
    if num_probes:
        probes = jnp.zeros((num_steps, num_probes, latents), dtype)
    if readout is not None:
        columns = readout.decoder_products.shape[-1]
        variance = jnp.zeros((num_steps, columns), dtype)
    return Fluctuations(jnp.zeros((num_steps, latents), dtype), probes, variance)
