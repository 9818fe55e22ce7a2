"""A choice between two ways of computing something, made once for a whole batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ratelike._types import PyTree


def one_way_for_all(
    condition: Callable[..., Bool[Array, ""]],
    if_true: Callable[..., PyTree],
    if_false: Callable[..., PyTree],
) -> Callable[..., PyTree]:
    """`if_true(*arrays)` where `condition(*arrays)` holds, for all members of a batch under `vmap`, else `if_false`.

    `jax.lax.cond` would compute both ways for every member.
    """

    @jax.custom_batching.custom_vmap
    def choose(*arrays):
        return jax.lax.cond(jnp.all(condition(*arrays)), if_true, if_false, *arrays)

    @choose.def_vmap
    def _(axis_size, in_batched, *arrays):
        def batched(x, is_batched):
            return x if is_batched else jnp.broadcast_to(x, (axis_size, *x.shape))

        arrays = jax.tree.map(batched, arrays, tuple(in_batched))
        # By itself again, for a batch of batches.
        ways = jax.vmap(condition), jax.vmap(if_true), jax.vmap(if_false)
        results = one_way_for_all(*ways)(*arrays)
        return results, jax.tree.map(lambda _: True, results)

    return choose


@jax.custom_batching.custom_vmap
def any_of_all(x: Bool[Array, "..."]) -> Bool[Array, ""]:
    """Whether any entry holds, of all members of a batch under `vmap`: what `jax.lax.cond` may be asked once for all."""
    return jnp.any(x)


@any_of_all.def_vmap
def _(axis_size, in_batched, x):
    return any_of_all(x), False
