"""How far two trajectories are apart."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation


def mean_absolute_error(
    outputs: Float[Array, "*batch time latents"],
    reference: Float[Array, "*batch time latents"],
    *,
    burn_in: int = 0,
) -> Float[Array, "*batch"]:
    """mean |y - y_ref| over output units and over the steps after the first `burn_in`, in units of the outputs.

    Raises `ValueError` for shapes that differ and unless 0 <= burn_in < number of steps.
    """
    if jnp.ndim(outputs) < 2:
        raise ValueError(
            f"outputs must have shape (..., time, latents), got shape {jnp.shape(outputs)}"
        )
    validation.shape("reference", reference, jnp.shape(outputs))
    burn_in = validation.burn_in(burn_in, outputs.shape[-2])
    return jnp.mean(jnp.abs(outputs - reference)[..., burn_in:, :], axis=(-2, -1))
