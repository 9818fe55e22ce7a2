"""The sigmoid escape rate."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._escape._base import (
    AbstractInvertibleEscape,
    clamped_exponent,
    free_exponent,
)
from ratelike._types import Numbers

# In widths above threshold. 1 - sigmoid(80) is far below rounding.
HIGHEST_POTENTIAL = 80.0


class SigmoidEscape(AbstractInvertibleEscape):
    r"""f(u) = rate / (1 + exp(-(u - threshold) / width)): exponential well below threshold, bounded above.

    `rate` (Hz) is the largest escape rate, `rate`/2 that at threshold; `threshold` and `width` have the units of the
    potential. Each is a scalar or one value per neuron. With the defaults f is 9.5 Hz at u = 0, and close to
    `ExponentialEscape()` below.

    Unlike the exponential it never makes a neuron fire for certain: with `rate` dt << 1 spikes stay random at any
    input. It is not separable, so a refractory density computes one logistic function per neuron and age.
    Below -80 widths from threshold f is constant, at 10^-35 `rate`.

    *Neuronal Dynamics*, section 9.1 (escape rates in general).

    Raises `ValueError` unless `rate` > 0, `width` > 0 and all are finite.
    """

    rate: Float[Array, "*#neurons"]  # Hz
    threshold: Float[Array, "*#neurons"]  # potential
    width: Float[Array, "*#neurons"]  # potential

    def __init__(
        self,
        rate: Numbers = 200.0,
        threshold: Numbers = 3.0,
        width: Numbers = 1.0,
    ) -> None:
        self.rate = validation.parameter("SigmoidEscape.rate", rate, above=0.0)
        self.threshold = validation.parameter("SigmoidEscape.threshold", threshold)
        self.width = validation.parameter("SigmoidEscape.width", width, above=0.0)

    def __call__(self, potential: Float[Array, "..."]) -> Float[Array, "..."]:
        exponent = clamped_exponent(
            potential, self.threshold, self.width, HIGHEST_POTENTIAL
        )
        return self.rate * jax.nn.sigmoid(exponent)

    def acting(
        self, start: Float[Array, "..."], end: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """threshold + width log(s / (1 - s)), with s the mean of both logistic functions, and 1 - s likewise."""
        ends = [free_exponent(u, self.threshold, self.width) for u in (start, end)]
        log_s = jnp.logaddexp(*(-jax.nn.softplus(-exponent) for exponent in ends))
        log_rest = jnp.logaddexp(*(-jax.nn.softplus(exponent) for exponent in ends))
        return self.threshold + self.width * (log_s - log_rest)
