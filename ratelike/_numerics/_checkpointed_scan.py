"""A scan over time whose derivative does not keep every state."""

from collections.abc import Callable

import jax
from jaxtyping import Array

from ratelike._numerics._time_blocks import in_blocks, in_time, root_block
from ratelike._types import PyTree


def checkpointed_scan(
    step: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
    state: PyTree,
    inputs: PyTree,
) -> PyTree:
    """The outputs of `jax.lax.scan(step, state, inputs)`, in blocks of about sqrt(steps) steps.

    Reverse mode keeps the states at the beginning of each block, then those of each step within the block at hand:
    memory grows with sqrt(steps), and the forward pass runs three times. Forward mode works as well, which `equinox`'s and diffrax's
    checkpointed loops do not offer. The last block is filled up with zeros, and what comes of them is cut off.

    Griewank, Optim. Methods Softw. 1, 35 (1992), with two levels.
    """
    num_steps = len(jax.tree.leaves(inputs)[0])
    num_blocks, block = root_block(num_steps)

    def cut(values: Array) -> Array:
        return in_blocks(values, num_blocks, block)

    # Inside a scan XLA cannot merge the two computations of a block, so the costly barrier against it is not needed.
    def one_block(state: PyTree, block_inputs: PyTree) -> tuple[PyTree, PyTree]:
        return jax.lax.scan(one_step, state, block_inputs)

    one_step = jax.checkpoint(step, prevent_cse=False)
    one_block = jax.checkpoint(one_block, prevent_cse=False)
    _, outputs = jax.lax.scan(one_block, state, jax.tree.map(cut, inputs))
    return jax.tree.map(lambda x: in_time(x, num_steps), outputs)
