"""The softplus escape rate."""

import math

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

# In widths above threshold. 10^6 rate dt: certain to fire at any sensible rate, and finite in float32.
HIGHEST_POTENTIAL = 1e6
# Here log(1 + exp(x)) is exp(x) to rounding, in float64 too.
EXPONENTIAL_BELOW = -40.0


class SoftplusEscape(AbstractInvertibleEscape):
    r"""f(u) = rate log(1 + exp((u - threshold) / width)): exponential below threshold, linear above.

    A rectified linear escape rate with a soft corner. `rate` (Hz) is the slope per `width` far above threshold;
    `threshold` and `width` have the units of the potential. Each is a scalar or one value per neuron. With the defaults
    f is 14 Hz at u = 0.

    It is not separable, so a refractory density computes one logarithm and one exponential per neuron and age. The
    argument of f is clamped at 10^6 above, where a neuron fires in every step it may, and at -80 below, where f is
    10^-35 `rate`.

    *Neuronal Dynamics*, section 9.1 (escape rates in general).

    Raises `ValueError` unless `rate` > 0, `width` > 0 and all are finite.
    """

    rate: Float[Array, "*#neurons"]  # Hz
    threshold: Float[Array, "*#neurons"]  # potential
    width: Float[Array, "*#neurons"]  # potential

    def __init__(
        self, rate: Numbers = 20.0, threshold: Numbers = 0.0, width: Numbers = 1.0
    ) -> None:
        self.rate = validation.parameter("SoftplusEscape.rate", rate, above=0.0)
        self.threshold = validation.parameter("SoftplusEscape.threshold", threshold)
        self.width = validation.parameter("SoftplusEscape.width", width, above=0.0)

    def __call__(self, potential: Float[Array, "..."]) -> Float[Array, "..."]:
        exponent = clamped_exponent(
            potential, self.threshold, self.width, HIGHEST_POTENTIAL
        )
        return self.rate * jax.nn.softplus(exponent)

    def acting(
        self, start: Float[Array, "..."], end: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """threshold + width log(exp(s) - 1), with s the mean of both softplus functions."""
        first, second = (
            free_exponent(u, self.threshold, self.width) for u in (start, end)
        )
        is_low = jnp.maximum(first, second) < EXPONENTIAL_BELOW
        s = 0.5 * (jax.nn.softplus(first) + jax.nn.softplus(second))
        s = jnp.where(is_low, 1.0, s)
        exponent = jnp.where(
            is_low,
            jnp.logaddexp(first, second) - math.log(2.0),
            s + jnp.log(-jnp.expm1(-s)),
        )
        return self.threshold + self.width * exponent
