"""A population on the grid, in blocks of steps: encode, advance the neurons, decode.

The update of the neurons in a block is one unrolled elementwise loop. Encoding and decoding are matrix products, for a
group of blocks at once: of few rows they would take as long as all the rest.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ratelike._dynamics._finite import all_finite
from ratelike._numerics._time_blocks import Part, Window, in_blocks, in_time
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Population
from ratelike._population._recurrence import RecurrentState
from ratelike._population._spike_trains import packed
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import leak_of
from ratelike._types import PyTree

# If that is more than one block. The same for runs of all lengths: the last bit of a matrix product depends on how many
# rows it has.
STEPS_CODED_AT_ONCE = 40

Rows = list[Float[Array, " neurons"]]
Advance = Callable[
    [PyTree, Rows, Rows, Int[Array, ""], Part | None],
    tuple[PyTree, Float[Array, "block neurons"]],
]


class Carried(NamedTuple):
    """What goes from block to block."""

    driven: Float[Array, " neurons"]  # h - b
    state: PyTree  # what the dynamics makes of it
    under_way: RecurrentState | None  # feedback


def longest_block(population: Population, dt: float, block: int) -> int:
    """No longer than the shortest delay, so that all that arrives within a block is known at its beginning."""
    if population.recurrence is None:
        return block
    return min(block, population.recurrence.shortest_delay(dt))


def at_rest(population: Population, dt: float, state: PyTree) -> Carried:
    recurrence = population.recurrence
    under_way = None if recurrence is None else recurrence.initial(dt)
    return Carried(jnp.zeros_like(population.bias), state, under_way)


def run_in_blocks(
    population: Population,
    increments: Float[Array, "time *tiles latents"],
    grid: TimeGrid,
    block: int,
    advance: Advance,
    carried: Carried,
    recorded: Int[Array, " recorded"] | None,
    first: Int[Array, ""] | None = None,
    all_spike: bool = False,
) -> tuple[LayerOutput, Carried]:
    """Scans `advance(state, ends, potentials, index of the block, part) -> (state, activity)`.

    `ends` are the potentials before, between and after the block's steps, and `potentials` those that act in them. The
    last group is filled up with zero increments, and what comes of them is cut off. `first` is for pieces of a longer
    run: the step within the first block in which the run begins; `part` then says which steps of a block belong to the
    run, and what is returned as carried is the state after the last of these.
    """
    group = max(1, STEPS_CODED_AT_ONCE // block)  # blocks
    # A block of one step belongs to the run as a whole.
    window = None
    if first is not None and block > 1:
        window = Window(first, grid.num_steps)
    num_steps = grid.num_steps + (0 if window is None else block - 1)
    num_groups = -(-num_steps // (group * block))
    one_block = _block(population, grid.dt, block, advance, recorded, window)

    def spikes_of(activity):
        return packed(activity) if all_spike else None

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
        activity = in_time(activity, group * block)
        kept = jax.tree.map(lambda x: in_time(x, group * block), kept)
        return carry, (population.decode(activity), kept, spikes_of(activity))

    indices = jnp.arange(num_groups * group, dtype=jnp.int32)
    cut = in_blocks if window is None else window.in_blocks
    groups = cut(increments, num_groups, group * block)
    inputs = (indices.reshape(num_groups, group), groups)
    last, outputs = jax.lax.scan(one_group, carried, inputs)

    def together(x: Array) -> Array:
        return in_time(x, grid.num_steps) if window is None else window.in_time(x)

    decoded, kept, spikes = jax.tree.map(together, outputs)
    recording = None if recorded is None else Recording(recorded, *kept)
    # A potential that was not finite once never is again, whatever comes in later.
    succeeded = all_finite(last)
    return LayerOutput(decoded, recording, None, succeeded, spikes=spikes), last


def _block(
    population: Population,
    dt: float,
    block: int,
    advance: Advance,
    recorded: Int[Array, " recorded"] | None,
    window: Window | None,
) -> Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]:
    """The body of the loop over blocks."""
    neuron, bias, recurrence = population.neuron, population.bias, population.recurrence
    leak = leak_of(neuron.tau_m, dt)

    def one_block(carry, inputs):
        (driven, state, under_way), currents = carry
        # Taken out one block before they are used: XLA does not vectorise a loop that does both.
        index, currents_of_next = inputs
        part = None if window is None else window.part(index, block)
        if recurrence is not None:
            currents = currents + recurrence.arriving(under_way, block, part)
        ends = [bias + driven]
        for step, current in enumerate(currents):
            after = leak.after(driven, leak.push(current))
            driven = after if part is None else jnp.where(part.has(step), after, driven)
            ends.append(bias + driven)
        potentials = [
            neuron.potential_in_step(*both) for both in itertools.pairwise(ends)
        ]
        state, activity = advance(state, ends, potentials, index, part)
        if part is not None:
            steps = jnp.arange(block, dtype=jnp.int32)[:, None]
            activity = jnp.where(part.has(steps), activity, 0.0)
        if recurrence is not None:
            under_way = recurrence.after(under_way, activity, dt, part)
        kept = None
        if recorded is not None:
            potential = jnp.stack([h[recorded] for h in potentials])
            kept = (potential, activity[:, recorded])
        carry = Carried(driven, state, under_way)
        return (carry, currents_of_next), (activity, kept)

    return one_block
