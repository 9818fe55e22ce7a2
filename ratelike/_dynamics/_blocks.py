"""A population on the grid, in blocks of steps: encode, advance the neurons, decode.

The update of the neurons in a block is one unrolled elementwise loop. Encoding and decoding are matrix products, for a
group of blocks at once: of few rows they would take as long as all the rest.
"""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ratelike._dynamics._finite import all_finite
from ratelike._numerics._time_blocks import in_blocks, in_time
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Population
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import leak_of
from ratelike._types import PyTree

# If that is more than one block. The same for runs of all lengths: the last bit of a matrix product depends on how many
# rows it has.
STEPS_CODED_AT_ONCE = 40

Rows = list[Float[Array, " neurons"]]
Advance = Callable[
    [PyTree, Rows, Rows, Int[Array, ""]],
    tuple[PyTree, Float[Array, "block neurons"]],
]


def run_in_blocks(
    population: Population,
    increments: Float[Array, "time *tiles latents"],
    grid: TimeGrid,
    block: int,
    advance: Advance,
    state: PyTree,
    recorded: Int[Array, " recorded"] | None,
) -> LayerOutput:
    """Scans `advance(state, ends, potentials, index of the block) -> (state, activity)`.

    `ends` are the potentials before, between and after the block's steps, and `potentials` those that act in them.

    The last group is filled up with zero increments, and what comes of them is cut off. With recurrence no block is
    longer than the shortest delay, so that all that arrives within a block is known at its beginning.
    """
    recurrence, under_way = population.recurrence, None
    if recurrence is not None:
        block = min(block, recurrence.shortest_delay(grid.dt))
        under_way = recurrence.initial(grid.dt)
    group = max(1, STEPS_CODED_AT_ONCE // block)  # blocks
    num_groups = -(-grid.num_steps // (group * block))
    one_block = _block(population, grid.dt, block, advance, recorded)

    def one_group(carry, inputs):
        indices, of_group = inputs
        # The second block's come first, those of the first block last.
        currents = population.currents(jnp.roll(of_group, -block, axis=0))
        currents = currents.reshape(group, block, population.num_neurons)
        # Reverse mode computes a block again rather than keep all that came up in it.
        (carry, _), (activity, kept) = jax.lax.scan(
            jax.checkpoint(one_block, prevent_cse=False),
            (carry, currents[-1]),
            (indices, currents),
        )
        # Summed over tiles at once, so that memory does not grow with time.
        decoded = population.decode(in_time(activity, group * block))
        return carry, (decoded, jax.tree.map(lambda x: in_time(x, group * block), kept))

    carry = (jnp.zeros_like(population.bias), state, under_way)
    indices = jnp.arange(num_groups * group, dtype=jnp.int32)
    groups = in_blocks(increments, num_groups, group * block)
    inputs = (indices.reshape(num_groups, group), groups)
    last, outputs = jax.lax.scan(one_group, carry, inputs)
    decoded, kept = jax.tree.map(lambda x: in_time(x, grid.num_steps), outputs)
    recording = None if recorded is None else Recording(recorded, *kept)
    # A potential that was not finite once never is again, whatever comes in later.
    return LayerOutput(decoded, recording, saved=None, succeeded=all_finite(last))


def _block(
    population: Population,
    dt: float,
    block: int,
    advance: Advance,
    recorded: Int[Array, " recorded"] | None,
) -> Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]:
    """The body of the loop over blocks."""
    neuron, bias, recurrence = population.neuron, population.bias, population.recurrence
    leak = leak_of(neuron.tau_m, dt)

    def one_block(carry, inputs):
        (driven, state, under_way), currents = carry  # driven = h - b
        # Taken out one block before they are used: XLA does not vectorise a loop that does both.
        index, currents_of_next = inputs
        if recurrence is not None:
            currents = currents + recurrence.arriving(under_way, block)
        ends = [bias + driven]
        for current in currents:
            driven = leak.after(driven, leak.push(current))
            ends.append(bias + driven)
        potentials = [
            neuron.potential_in_step(*both) for both in itertools.pairwise(ends)
        ]
        state, activity = advance(state, ends, potentials, index)
        if recurrence is not None:
            under_way = recurrence.after(under_way, activity, dt)
        kept = None
        if recorded is not None:
            potential = jnp.stack([h[recorded] for h in potentials])
            kept = (potential, activity[:, recorded])
        return ((driven, state, under_way), currents_of_next), (activity, kept)

    return one_block
