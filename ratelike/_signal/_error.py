"""How far two trajectories are apart."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._types import Numbers


def mean_absolute_error(
    outputs: Numbers,
    reference: Numbers,
    *,
    burn_in: int = 0,
) -> Float[Array, "*batch"]:
    """mean |y - y_ref| over output units and over the steps after the first `burn_in`, in units of the outputs.

    Both have the shape (..., time, latents).

    Raises `ValueError` for outputs that are not finite, shapes that differ and unless 0 <= burn_in < number of steps.
    """
    outputs = validation.parameter("outputs", outputs)
    reference = validation.parameter("reference", reference)
    if outputs.ndim < 2:
        raise ValueError(
            f"outputs must have shape (..., time, latents), got shape {outputs.shape}"
        )
    validation.shape("reference", reference, outputs.shape)
    burn_in = validation.burn_in(burn_in, outputs.shape[-2])
    return jnp.mean(jnp.abs(outputs - reference)[..., burn_in:, :], axis=(-2, -1))
