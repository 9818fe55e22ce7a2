"""How far two trajectories are apart."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from ratelike import _validation as validation


def mean_absolute_error(
    outputs: Real[ArrayLike, "*batch time latents"] | Sequence[Any],
    reference: Real[ArrayLike, "*batch time latents"] | Sequence[Any],
    *,
    burn_in: int = 0,
) -> Float[Array, "*batch"]:
    """mean |y - y_ref| over output units and over the steps after the first `burn_in`, in units of the outputs.

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
