"""What an escape rate is."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

# exp(-80) = 2e-35 is still a normal number in float32.
LOWEST_EXPONENT = -80.0


class AbstractEscape(eqx.Module):
    """An escape rate f(u) >= 0 in hertz. A new one needs `__call__`, elementwise, and nothing else.

    Parameters are arrays, scalars or one value per neuron. Values and gradients must stay finite for every finite
    potential: clamp the argument of an exponential or a power. A layer is refused (`ValueError`) if its f is negative or
    not finite at one of some fifty potentials between -10^4 and 10^4. For instance a rectified square:

    >>> import jax.numpy as jnp
    >>> import ratelike as rl
    >>> from jaxtyping import Array
    >>> class SquareEscape(rl.AbstractEscape):
    ...     slope: Array  # square root of hertz, per potential
    ...
    ...     def __call__(self, potential):
    ...         return (self.slope * jnp.clip(potential, 0.0, 1e3)) ** 2
    >>> neuron = rl.SRM0(escape=SquareEscape(jnp.asarray(4.0)))
    >>> float(neuron.escape(jnp.asarray(1.5)))
    36.0
    """

    @abc.abstractmethod
    def __call__(self, potential: Float[Array, "..."]) -> Float[Array, "..."]:
        """f(u) in hertz."""


class AbstractSeparableEscape(AbstractEscape):
    """An escape rate with f(u + offset) = f(u) ratio(offset).

    Where one refractory kernel serves many neurons, that saves an exponential for each neuron and age.
    """

    @abc.abstractmethod
    def ratio(self, offset: Float[Array, "..."]) -> Float[Array, "..."]:
        """f(u + offset) / f(u), whatever u."""


def clamped_exponent(
    potential: Float[Array, "..."],
    threshold: Float[Array, "#neurons"],
    width: Float[Array, "#neurons"],
    largest: float,
) -> Float[Array, "..."]:
    """(u - threshold) / width between -80 and `largest`.

    Clamped before the division, which could overflow: an infinite quotient has a NaN for its gradient by `width`.
    """
    distance = potential - threshold
    return jnp.clip(distance, LOWEST_EXPONENT * width, largest * width) / width
