"""One floating-point type for all of a computation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ratelike._types import PyTree


def cast_to(tree: PyTree[Array], dtype: jnp.dtype) -> PyTree[Array]:
    """The tree with its floating-point arrays in the type `dtype`, and all others as they are."""

    def cast(leaf: Array) -> Array:
        is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if is_float else leaf

    return jax.tree.map(cast, tree)
