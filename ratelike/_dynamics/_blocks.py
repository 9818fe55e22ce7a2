"""A layer on the grid, in blocks of steps: encode, advance the neurons, decode.

The update of the neurons in a block is one unrolled elementwise loop. Encoding and decoding are matrix products, for a
group of blocks at once: of few rows they would take as long as all the rest.
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree

from ratelike._dynamics._finite import all_finite
from ratelike._network import Layer
from ratelike._population._coding import (
    decode,
    directions,
    encode,
    summed_where_shared,
    tiled_decoder,
)
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._recurrence import loop_of
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import leak_of

# Steps that are encoded and decoded at once, if that is more than one block. The same for runs of all lengths: the last bit
# of a matrix product depends on how many rows it has.
GROUP = 40

Rows = list[Float[Array, " neurons"]]
Advance = Callable[
    [PyTree, Rows, Rows, Integer[Array, ""]],
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
    """Scans `advance(state, ends, potentials, index of the block) -> (state, activity)`.

    `ends` are the potentials before, between and after the block's steps, and `potentials` those that act in them.

    The last group is filled up with zero increments, and what comes of them is cut off. With feedback no block is
    longer than its delay, so that all that arrives within a block is known at its beginning.
    """
    loop = loop_of(layer, grid.dt)
    if loop is not None:
        block = min(block, loop.delay)
    group = max(1, GROUP // block)  # blocks
    num_groups = -(-grid.num_steps // (group * block))
    padding = num_groups * group * block - grid.num_steps
    padded = jnp.pad(increments, [(0, padding)] + [(0, 0)] * (increments.ndim - 1))
    groups = padded.reshape(num_groups, group * block, *increments.shape[1:])
    leak = leak_of(layer.neuron.tau_m, grid.dt)
    inwards, decoder = directions(layer), tiled_decoder(layer)

    def one_block(carry, inputs):
        (driven, state, arriving), currents = carry  # driven = h - b
        # Taken out one block before they are used: XLA does not vectorise a loop that does both.
        index, currents_of_next = inputs
        if loop is not None:
            currents = currents + arriving[:block]
        ends = [layer.bias + driven]
        for current in currents:
            driven = leak.after(driven, leak.push(current))
            ends.append(layer.bias + driven)
        potentials = [
            layer.neuron.potential_in_step(*both) for both in itertools.pairwise(ends)
        ]
        state, activity = advance(state, ends, potentials, index)
        if loop is not None:
            arriving = loop.queue(arriving, activity)
        kept = None
        if recorded is not None:
            potential = jnp.stack([h[recorded] for h in potentials])
            kept = (potential, activity[:, recorded])
        return ((driven, state, arriving), currents_of_next), (activity, kept)

    def one_group(carry, inputs):
        indices, of_group = inputs
        # The second block's come first, those of the first block last.
        of_next = jnp.roll(of_group, -block, axis=0)
        currents = encode(of_next, inwards, layer.num_neurons)
        currents = currents.reshape(group, block, layer.num_neurons)
        # Reverse mode computes a block again rather than keep all that came up in it.
        (carry, _), outputs = jax.lax.scan(
            jax.checkpoint(one_block, prevent_cse=False),
            (carry, currents[-1]),
            (indices, currents),
        )
        activity, kept = jax.tree.map(_in_time, outputs)
        # Summed over tiles at once, so that memory does not grow with time.
        decoded = summed_where_shared(decode(decoder, activity), increments)
        return carry, (decoded, kept)

    silence = None if loop is None else loop.silence()
    carry = (jnp.zeros_like(layer.bias), state, silence)
    indices = jnp.arange(num_groups * group, dtype=jnp.int32)
    inputs = (indices.reshape(num_groups, group), groups)
    last, outputs = jax.lax.scan(one_group, carry, inputs)
    decoded, kept = jax.tree.map(lambda x: _in_time(x)[: grid.num_steps], outputs)
    recording = None if recorded is None else Recording(recorded, *kept)
    # A potential that was not finite once never is again, whatever comes in later.
    return LayerOutput(decoded, recording, saved=None, succeeded=all_finite(last))


def _in_time(x: Array) -> Array:
    """What was stacked twice, as one row of steps."""
    return x.reshape(-1, *x.shape[2:])
