"""What a refractory kernel is, and how its time spans are checked."""

import abc
from collections.abc import Sequence

import equinox as eqx
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._types import Numbers
from ratelike._validation import _plausibility as plausibility


class AbstractRefractory(eqx.Module):
    """A refractory kernel eta(a) of the age a, the time since the last spike.

    A new one needs `__call__`, elementwise, and the three fields below. `memory` and `shortest_dead_time` set array
    sizes and are therefore static. From `memory` on the kernel has to be constant: neurons that have never fired have
    that age. Other parameters are arrays, scalars or one value per neuron. For instance a linear recovery:

    >>> import equinox as eqx
    >>> import jax.numpy as jnp
    >>> import ratelike as rl
    >>> from jaxtyping import Array
    >>> class LinearRefractory(rl.extend.AbstractRefractory):
    ...     amplitude: Array  # potential
    ...     dead_time: Array  # s
    ...     memory: float = eqx.field(static=True)  # s
    ...     shortest_dead_time: float = eqx.field(static=True)  # s
    ...
    ...     def __call__(self, age):
    ...         return -self.amplitude * jnp.maximum(1.0 - age / self.memory, 0.0)
    >>> kernel = LinearRefractory(jnp.asarray(5.0), jnp.asarray(2e-3), 40e-3, 2e-3)
    >>> neuron = rl.SRM0(refractory=kernel)
    >>> float(neuron.refractory(jnp.asarray(30e-3)))
    -1.25
    """

    dead_time: AbstractVar[Float[Array, "*#neurons"]]  # s; no spike at ages below it
    memory: AbstractVar[float]  # s; the kernel is constant beyond it
    shortest_dead_time: AbstractVar[float]  # s; of all neurons

    @abc.abstractmethod
    def __call__(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """eta(a), in units of the potential."""


class AbstractRecursiveRefractory(AbstractRefractory):
    """A refractory kernel that follows from its value a step before: cheaper than anew at each age.

    A spiking neuron needs it in the steps of a block. A new one needs `at_successive_ages` beside what an
    `AbstractRefractory` does.
    """

    @abc.abstractmethod
    def at_successive_ages(
        self, ages: Sequence[Float[Array, "..."]], step: float
    ) -> list[Float[Array, "..."]]:
        """eta at ages that are `step` apart, and at most `memory`."""


def at_successive_ages(
    refractory: AbstractRefractory, ages: Sequence[Float[Array, "..."]], step: float
) -> list[Float[Array, "..."]]:
    """eta at ages that are `step` apart, and at most `memory`, by the shortest way that the kernel knows."""
    if isinstance(refractory, AbstractRecursiveRefractory):
        return refractory.at_successive_ages(ages, step)
    return [refractory(age) for age in ages]


def checked_span(
    owner: str, dead_time: Numbers, memory: float
) -> tuple[Float[Array, "*#neurons"], float, float]:
    """`dead_time`, its static minimum over neurons (0 where it is being traced), and `memory`, checked."""
    checked = validation.parameter(f"{owner}.dead_time", dead_time, at_least=0.0)
    plausibility.warn_of_milliseconds(
        f"{owner}.dead_time", dead_time, plausibility.LONGEST_DEAD_TIME
    )
    memory = validation.number(f"{owner}.memory", memory, at_least=0.0)
    if not validation.is_concrete(dead_time):
        return checked, 0.0, memory
    seconds = np.asarray(dead_time, dtype=float)
    # A dead time that comes in float32 is off by a rounding error.
    if memory < seconds.max() * (1.0 - 1e-6):
        raise ValueError(
            f"{owner}.memory must be at least the dead time of {seconds.max():g} s, got {memory:g} s"
        )
    return checked, float(seconds.min()), memory
