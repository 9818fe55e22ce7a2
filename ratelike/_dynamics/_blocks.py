"""A layer on the grid, in blocks of steps: encode, advance the neurons, decode.

Within a block, encoding and decoding are matrix products, and the update of the neurons between them is one unrolled
elementwise loop.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree

from ratelike._dynamics._base import LayerOutput, Recording
from ratelike._grid import TimeGrid
from ratelike._loop import loop_of
from ratelike._membrane import decay_factor, input_factor
from ratelike._network import Layer
from ratelike._population import (
    decode,
    directions,
    encode,
    summed_where_shared,
    tiled_decoder,
)

# For so many blocks the sums over each tile are kept before they are added up: memory does not grow with time.
SEGMENT = 64

Potentials = list[Float[Array, " neurons"]]
Advance = Callable[
    [PyTree, Potentials, Integer[Array, ""]],
    tuple[PyTree, Float[Array, "block neurons"]],
]


def run_in_blocks(
    layer: Layer,
    increments: Float[Array, "time *tiles latents"],
    grid: TimeGrid,
    block: int,
    advance: Advance,
    state: PyTree,
    recorded: Integer[Array, " recorded"] | None,
) -> LayerOutput:
    """Scans `advance(state, potentials of the block's steps, index of the block) -> (state, activity)`.

    The last block is filled up with zero increments, and what comes of them is cut off. With feedback no block is
    longer than its delay, so that all that arrives within a block is known at its beginning.
    """
    loop = loop_of(layer, grid.dt)
    if loop is not None:
        block = min(block, loop.delay)
    num_blocks = -(-grid.num_steps // block)
    num_segments = -(-num_blocks // SEGMENT)
    per_segment = -(-num_blocks // num_segments)
    padding = num_segments * per_segment * block - grid.num_steps
    blocks = jnp.pad(increments, [(0, padding)] + [(0, 0)] * (increments.ndim - 1))
    blocks = blocks.reshape(num_segments, per_segment, block, *increments.shape[1:])
    decay = decay_factor(layer.neuron.tau_m, grid.dt)
    scale = input_factor(layer.neuron.tau_m, grid.dt)
    inwards, decoder = directions(layer), tiled_decoder(layer)

    def one_block(carry, inputs):
        driven, state, arriving = carry  # driven = h - b
        index, block_increments = inputs
        currents = encode(block_increments, inwards, layer.num_neurons)
        if loop is not None:
            currents = currents + arriving[:block]
        potentials = []
        for current in currents:
            potentials.append(layer.bias + driven)
            driven = decay * driven + scale * current
        state, activity = advance(state, potentials, index)
        if loop is not None:
            arriving = loop.queue(arriving, activity)
        kept = None
        if recorded is not None:
            potential = jnp.stack([h[recorded] for h in potentials])
            kept = (potential, activity[:, recorded])
        return (driven, state, arriving), (decode(decoder, activity), kept)

    def one_segment(carry, inputs):
        carry, outputs = jax.lax.scan(one_block, carry, inputs)
        decoded, kept = jax.tree.map(_in_time, outputs)
        return carry, (summed_where_shared(decoded, increments), kept)

    silence = None if loop is None else loop.silence()
    carry = (jnp.zeros_like(layer.bias), state, silence)
    indices = jnp.arange(num_segments * per_segment, dtype=jnp.int32)
    inputs = (indices.reshape(num_segments, per_segment), blocks)
    _, outputs = jax.lax.scan(one_segment, carry, inputs)
    decoded, kept = jax.tree.map(lambda x: _in_time(x)[: grid.num_steps], outputs)
    recording = None if recorded is None else Recording(recorded, *kept)
    return LayerOutput(decoded, recording, saved=None, succeeded=jnp.asarray(True))


def _in_time(x: Array) -> Array:
    """What was stacked twice, as one row of steps."""
    return x.reshape(-1, *x.shape[2:])
