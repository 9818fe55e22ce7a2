"""Steps that are relative to a number's size."""

import jax.numpy as jnp
from jaxtyping import Array


def scaled(size: Array, x: Array) -> Array:
    """size exp(x) of positive numbers, as a positive normal number: where it would not be one, x counts no longer."""
    limits = jnp.finfo(size.dtype)
    # A factor of e within the limits, for rounding; the exponential stays within them, too.
    logarithm = jnp.log(size)
    least = jnp.log(limits.tiny) + 1.0 - jnp.minimum(logarithm, 0.0)
    most = jnp.log(limits.max) - 1.0 - jnp.maximum(logarithm, 0.0)
    return size * jnp.exp(jnp.clip(x, jnp.minimum(least, 0.0), jnp.maximum(most, 0.0)))
