"""A population on the grid, in groups of steps that run as one: encode, advance the neurons through all of them, decode.

The way of a GPU, where a step costs the launch of its kernels; `_blocks.py` is that of a processor.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ratelike._dynamics._finite import all_finite
from ratelike._numerics._time_blocks import in_blocks, in_time
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Population
from ratelike._population._spike_trains import packed
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree

# The same for runs of all lengths: the last bit of a matrix product depends on how many rows it has.
STEPS_OF_A_GROUP = 200

# (state, number of the group, currents) -> (state, activity, potentials that acted, if they are asked for)
Advance = Callable[
    [PyTree, Int[Array, ""], Float[Array, "steps neurons"]],
    tuple[PyTree, Float[Array, "steps neurons"], Float[Array, "steps neurons"] | None],
]


def run_in_groups(
    population: Population,
    increments: Float[Array, "time *tiles latents"],
    grid: TimeGrid,
    steps: int,
    advance: Advance,
    state: PyTree,
    recorded: Int[Array, " recorded"] | None,
    all_spike: bool = False,
) -> LayerOutput:
    """Scans `advance` over groups of `steps` steps; without recurrence.

    The last group is filled up with zero increments, and what comes of them is cut off.
    """
    num_groups = -(-grid.num_steps // steps)

    def one_group(state: PyTree, inputs: tuple[Array, Array]) -> tuple[PyTree, tuple]:
        index, of_group = inputs
        currents = population.currents(of_group)
        state, activity, potential = advance(state, index, currents)
        kept = None
        if recorded is not None:
            assert potential is not None
            kept = potential[:, recorded], activity[:, recorded]
        spikes = packed(activity) if all_spike else None
        return state, (population.decode(activity), kept, spikes)

    indices = jnp.arange(num_groups, dtype=jnp.int32)
    inputs = indices, in_blocks(increments, num_groups, steps)
    last, outputs = jax.lax.scan(one_group, state, inputs)
    decoded, kept, spikes = jax.tree.map(lambda x: in_time(x, grid.num_steps), outputs)
    recording = None if recorded is None else Recording(recorded, *kept)
    return LayerOutput(decoded, recording, None, all_finite(last), spikes=spikes)
