"""The exponential escape rate."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ratelike import _validation as validation
from ratelike._escape._base import AbstractSeparableEscape

# exp(40)^2 = 6e34: far beyond any hazard that leaves a neuron silent for one step, and finite in float32 even as the
# product of two clamped exponentials.
LARGEST_EXPONENT = 40.0


class ExponentialEscape(AbstractSeparableEscape):
    r"""f(u) = rate exp((u - threshold) / width).

    `rate` (Hz) is the escape rate at threshold, `threshold` and `width` have the units of the potential. Each is a
    scalar or one value per neuron. The exponent is clamped at 40, where a neuron fires in every step it may.

    Gerstner, Kistler, Naud and Paninski, *Neuronal Dynamics* (2014), section 9.1.

    Raises `ValueError` unless `rate` > 0, `width` > 0 and all are finite.
    """

    rate: Float[Array, "#neurons"]  # Hz
    threshold: Float[Array, "#neurons"]  # potential
    width: Float[Array, "#neurons"]  # potential

    def __init__(
        self, rate: ArrayLike = 10.0, threshold: ArrayLike = 0.0, width: ArrayLike = 1.0
    ):
        self.rate = validation.parameter("ExponentialEscape.rate", rate, above=0.0)
        self.threshold = validation.parameter("ExponentialEscape.threshold", threshold)
        self.width = validation.parameter("ExponentialEscape.width", width, above=0.0)

    def __call__(self, potential: Float[Array, "..."]) -> Float[Array, "..."]:
        exponent = (potential - self.threshold) / self.width
        return self.rate * jnp.exp(jnp.minimum(exponent, LARGEST_EXPONENT))

    def ratio(self, offset: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(jnp.minimum(offset / self.width, LARGEST_EXPONENT))
