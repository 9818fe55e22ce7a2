"""The exponential escape rate."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._escape._base import AbstractSeparableEscape
from ratelike._types import Numbers

# In widths above threshold. A neuron whose kernel takes exp(-45) from exp(60) still fires in every step that it may; and times the largest ratio
# exp(20) it is finite in float32.
HIGHEST_POTENTIAL = 60.0
LARGEST_LOG_RATIO = 20.0


class ExponentialEscape(AbstractSeparableEscape):
    r"""f(u) = rate exp((u - threshold) / width).

    `rate` (Hz) is the escape rate at threshold, `threshold` and `width` have the units of the potential. Each is a
    scalar or one value per neuron. The exponent is clamped at 60, where a neuron fires in every step it may.

    Gerstner, Kistler, Naud and Paninski, *Neuronal Dynamics* (2014), section 9.1.

    Raises `ValueError` unless `rate` > 0, `width` > 0 and all are finite.
    """

    rate: Float[Array, "*#neurons"]  # Hz
    threshold: Float[Array, "*#neurons"]  # potential
    width: Float[Array, "*#neurons"]  # potential

    def __init__(
        self, rate: Numbers = 10.0, threshold: Numbers = 0.0, width: Numbers = 1.0
    ) -> None:
        self.rate = validation.parameter("ExponentialEscape.rate", rate, above=0.0)
        self.threshold = validation.parameter("ExponentialEscape.threshold", threshold)
        self.width = validation.parameter("ExponentialEscape.width", width, above=0.0)

    def __call__(self, potential: Float[Array, "..."]) -> Float[Array, "..."]:
        exponent = (potential - self.threshold) / self.width
        return self.rate * jnp.exp(jnp.minimum(exponent, HIGHEST_POTENTIAL))

    def acting(
        self, start: Float[Array, "..."], end: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """m + width log cosh(d / (2 width)), with the mean m of both ends and their difference d."""
        half = (end - start) / (2.0 * self.width)
        log_cosh = jnp.logaddexp(half, -half) - math.log(2.0)
        return 0.5 * (start + end) + self.width * log_cosh

    def ratio(self, offset: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(jnp.minimum(offset / self.width, LARGEST_LOG_RATIO))
