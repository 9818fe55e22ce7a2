"""What an escape rate is."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# In widths from threshold. exp(-80) = 2e-35 is still a normal number in float32.
LOWEST_POTENTIAL = -80.0


class AbstractEscape(eqx.Module):
    """An escape rate f(u) >= 0 in hertz. A new one needs `__call__`, elementwise, and nothing else.

    f should be smooth on the scale of a step's change of the potential: the mean of f over a step is taken from its
    first two derivatives (`acting_potential`), unless the class is an `AbstractInvertibleEscape`.
    Parameters are arrays, scalars or one value per neuron. Values and gradients must stay finite for every finite
    potential: clamp the argument of an exponential or a power. A layer is refused (`ValueError`) if its f is negative or
    not finite at one of some fifty potentials between -10^4 and 10^4. For instance a rectified square:

    >>> import jax.numpy as jnp
    >>> import ratelike as rl
    >>> from jaxtyping import Array
    >>> class SquareEscape(rl.extend.AbstractEscape):
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


class AbstractInvertibleEscape(AbstractEscape):
    """An escape rate that knows the potential of a mean rate."""

    @abc.abstractmethod
    def acting(
        self, start: Float[Array, "..."], end: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """f^-1((f(start) + f(end)) / 2), finite for all finite potentials."""


class AbstractSeparableEscape(AbstractInvertibleEscape):
    """An escape rate with f(u + offset) = f(u) ratio(offset).

    Where one refractory kernel serves many neurons, that saves an exponential for each neuron and age. Both factors
    have to be finite, and their product right, for ratios from exp(-45) to exp(20).
    """

    @abc.abstractmethod
    def ratio(self, offset: Float[Array, "..."]) -> Float[Array, "..."]:
        """f(u + offset) / f(u), whatever u."""


def acting_potential(
    rate: Callable[[Float[Array, "..."]], Float[Array, "..."]],
    start: Float[Array, "..."],
    end: Float[Array, "..."],
) -> Float[Array, "..."]:
    r"""The potential hs at which the escape rate `rate` is the mean of that at both ends of a step.

    With m the mean of the ends and d their difference, to third order in d and between the ends:

        f(hs) = (f(start) + f(end)) / 2,    hs = m + (d^2 / 8) f''(m) / f'(m).

    Exact where `rate` is an `AbstractInvertibleEscape`.
    """
    if isinstance(rate, AbstractInvertibleEscape):
        return rate.acting(start, end)

    def slope(u):
        return jax.jvp(rate, (u,), (jnp.ones_like(u),))[1]

    mean = 0.5 * (start + end)
    first, second = jax.jvp(slope, (mean,), (jnp.ones_like(mean),))
    is_flat = jnp.abs(first) < jnp.finfo(mean.dtype).tiny ** 0.5
    bend = jnp.where(is_flat, 0.0, second / jnp.where(is_flat, 1.0, first))
    acting = mean + 0.125 * (end - start) ** 2 * bend
    return jnp.clip(acting, jnp.minimum(start, end), jnp.maximum(start, end))


def ratio_of(
    escape: AbstractEscape,
) -> Callable[[Float[Array, "..."]], Float[Array, "..."]] | None:
    """f(u + offset) / f(u) as a function of the offset, where the escape rate has it."""
    return escape.ratio if isinstance(escape, AbstractSeparableEscape) else None


def clamped_exponent(
    potential: Float[Array, "..."],
    threshold: Float[Array, "*#neurons"],
    width: Float[Array, "*#neurons"],
    largest: float,
    lowest: float = LOWEST_POTENTIAL,
) -> Float[Array, "..."]:
    """(u - threshold) / width between `lowest` and `largest`.

    Clamped before the division, which could overflow: an infinite quotient has a NaN for its gradient by `width`.
    """
    distance = potential - threshold
    return jnp.clip(distance, lowest * width, largest * width) / width


def free_exponent(
    potential: Float[Array, "..."],
    threshold: Float[Array, "*#neurons"],
    width: Float[Array, "*#neurons"],
) -> Float[Array, "..."]:
    """(u - threshold) / width as it is: a refractory kernel may still bring it back to where f is neither end."""
    return clamped_exponent(potential, threshold, width, 1e9, -1e9)
