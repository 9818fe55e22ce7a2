"""Frequencies on a grid of time steps, and functions of them computed in a loop of batches."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ratelike import _validation as validation
from ratelike._types import Numbers, PyTree

# Neurons times frequencies that are computed at once.
AT_ONCE = 2**14


def checked_frequencies(
    frequencies: Numbers, dt: float, dtype: jnp.dtype, above_zero: bool = False
) -> Float[Array, " frequencies"]:
    """In hertz, at most half of the steps per second."""
    bound = {"above": 0.0} if above_zero else {"at_least": 0.0}
    given = validation.parameter("frequencies", frequencies, **bound)
    validation.shape("frequencies", given, ("frequencies",))
    nyquist = 0.5 / dt
    if validation.is_concrete(frequencies):
        highest = float(np.max(np.asarray(frequencies, float), initial=0.0))
        if highest > nyquist * (1.0 + 1e-6):
            raise ValueError(
                f"frequencies must be at most 1 / (2 dt) = {nyquist:g} Hz, got {highest:g} Hz"
            )
    return given.astype(dtype)


def on_circle(
    frequencies: Float[Array, " frequencies"], dt: float
) -> Complex[Array, " frequencies"]:
    """log z = 2 pi i f dt."""
    turned = 2.0 * jnp.pi * dt * frequencies
    return jax.lax.complex(jnp.zeros_like(turned), turned)


def over_exponents(
    function: Callable[[Complex[Array, ""]], PyTree[Array]],
    exponents: Complex[Array, " exponents"],
    num_neurons: int,
) -> PyTree[Array]:
    """The function at each of them; memory does not grow with their number."""
    batch = min(max(1, AT_ONCE // num_neurons), max(1, len(exponents)))
    return jax.lax.map(function, exponents, batch_size=batch)


def midpoints(number: int, dt: float, dtype: jnp.dtype) -> Float[Array, " frequencies"]:
    """Hz: those of `number` equal parts from 0 to 1 / (2 dt), with which integrals of periodic functions converge fast."""
    return (jnp.arange(number, dtype=dtype) + 0.5) / (2.0 * number * dt)
