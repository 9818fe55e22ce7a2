"""A choice between two ways of computing something, made once for a whole batch."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ratelike._numerics._broadcasting import broadcasts
from ratelike._types import PyTree


def batch_cond(
    condition: Callable[..., Bool[Array, ""]],
    if_true: Callable[..., PyTree],
    if_false: Callable[..., PyTree],
) -> Callable[..., PyTree]:
    """`if_true(*arrays)` where `condition(*arrays)` holds, for all members of a batch under `vmap`, else `if_false`.

    `jax.lax.cond` would compute both for every member.
    """
    # JAX may trace them when the caller's own scope has ended.
    condition, if_true, if_false = map(broadcasts, (condition, if_true, if_false))

    @jax.custom_batching.custom_vmap
    def choose(*arrays: PyTree[Array]) -> PyTree:
        return jax.lax.cond(jnp.all(condition(*arrays)), if_true, if_false, *arrays)

    @choose.def_vmap
    def _(
        axis_size: int, in_batched: Sequence[PyTree[bool]], *arrays: PyTree[Array]
    ) -> tuple[PyTree, PyTree[bool]]:
        def batched(x: Array, is_batched: bool) -> Array:
            return x if is_batched else jnp.broadcast_to(x, (axis_size, *x.shape))

        arrays = jax.tree.map(batched, arrays, tuple(in_batched))
        # By itself again, for a batch of batches.
        functions = jax.vmap(condition), jax.vmap(if_true), jax.vmap(if_false)
        results = batch_cond(*functions)(*arrays)
        return results, jax.tree.map(lambda _: True, results)

    return choose


@jax.custom_batching.custom_vmap
def any_of_batch(x: Bool[Array, "..."]) -> Bool[Array, ""]:
    """Whether any entry holds, of all members of a batch under `vmap`: what `jax.lax.cond` may be asked once for all."""
    return jnp.any(x)


@any_of_batch.def_vmap
def _(
    axis_size: int, in_batched: Sequence[bool], x: Bool[Array, "..."]
) -> tuple[Bool[Array, ""], bool]:
    return any_of_batch(x), False
