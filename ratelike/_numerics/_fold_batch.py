"""A batch computed as more neurons, in parts that stay in cache, where `vmap` would give every array another axis."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ratelike._numerics._broadcasting import broadcasts
from ratelike._types import PyTree

# Members that are put side by side one by one.
FEW = 16


def fold_batch(
    function: Callable[[PyTree, PyTree, int], PyTree],
    largest: Callable[[], int],
    members: int = 1,
) -> Callable[[PyTree, PyTree], PyTree]:
    """`function(columns, shared, members)`, of arrays `columns` whose last axis is that of `members` times the neurons.

    The last axis of each result is a multiple of `members` as well. Under `vmap` members are added as long as there are
    no more than `largest()` columns; the rest of the batch follows, part by part.
    """
    # JAX may trace it when the caller's own scope has ended.
    function = broadcasts(function)

    @jax.custom_batching.custom_vmap
    def call(columns: PyTree[Array], shared: PyTree[Array]) -> PyTree[Array]:
        return function(columns, shared, members)

    @call.def_vmap
    def _(
        axis_size: int,
        in_batched: Sequence[PyTree],
        columns: PyTree[Array],
        shared: PyTree[Array],
    ) -> tuple[PyTree, PyTree]:
        def batched(x: Array, is_batched: bool) -> Array:
            return x if is_batched else jnp.broadcast_to(x, (axis_size, *x.shape))

        columns = jax.tree.map(batched, columns, in_batched[0])
        if any(jax.tree.leaves(in_batched[1])):
            shared = jax.tree.map(batched, shared, in_batched[1])
            results = jax.lax.map(lambda each: call(*each), (columns, shared))
        else:
            width = jax.tree.leaves(columns)[0].shape[-1]
            part = _largest_divisor(axis_size, largest() // width)
            folded = fold_batch(function, largest, members * part)
            parts = jax.tree.map(lambda x: _fold(x, part), columns)
            if part == axis_size:
                results = jax.tree.map(lambda x: x[None], folded(jax.tree.map(lambda x: x[0], parts), shared))  # fmt: skip
            else:
                results = jax.lax.map(lambda each: folded(each, shared), parts)
            results = jax.tree.map(lambda x: _unfold(x, part), results)
        return results, jax.tree.map(lambda _: True, results)

    return call


def _largest_divisor(number: int, at_most: int) -> int:
    return max(d for d in range(1, number + 1) if number % d == 0 and d <= max(at_most, 1))  # fmt: skip


def _fold(batch: Array, part: int) -> Array:
    """(members, ..., neurons) as (parts, ..., neurons of all members of a part)."""
    parts = batch.reshape(-1, part, *batch.shape[1:])
    # What is transposed XLA computes in its old order, entry by entry; what is put side by side, in vectors.
    if part <= FEW:
        return jnp.concatenate([parts[:, i] for i in range(part)], axis=-1)
    moved = jnp.moveaxis(parts, 1, -2)
    return moved.reshape(*moved.shape[:-2], -1)


def _unfold(folded: Array, part: int) -> Array:
    parts = folded.reshape(*folded.shape[:-1], part, -1)
    moved = jnp.moveaxis(parts, -2, 1)
    return moved.reshape(-1, *moved.shape[2:])
