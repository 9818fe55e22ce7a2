"""Neurons that remember nothing but their last spike."""

import abc
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Array, Float

from ratelike._neuron._base import (
    AbstractNeuronModel,
    Factors,
    Mark,
    mean_rates,
    one_by_one,
)


class AbstractRenewalNeuron(AbstractNeuronModel):
    """A renewal neuron: a spike sets its mark, which stays; there are no traces, and `expected` is the neuron itself.

    To be derived from where a neuron decides by its parameters whether it separates its hazard, as `SRM0` does; then it
    gives `separate` and `successive_hazards` itself. Else `AbstractNeuron` and `AbstractSeparableNeuron` do that.
    """

    is_renewal: ClassVar[bool] = True
    can_spike: ClassVar[bool] = True

    def faded(self, mark: Mark, seconds: Float[Array, "..."] | float) -> Mark:
        return mark

    def mark_after_spike(
        self, potential: Float[Array, "..."], mark: Mark, dt: float
    ) -> Mark:
        return self.mark(potential)

    @property
    def expected(self) -> AbstractNeuronModel:
        return self

    def initial_trace(self, potential: Float[Array, "..."]) -> None:
        return None

    def newborn(
        self,
        potential: Float[Array, "..."],
        trace: None,
        activity: Float[Array, "..."],
        dt: float,
    ) -> tuple[Mark, None]:
        return self.mark(potential), None

    def stationary_mark(
        self, potential: Float[Array, "..."], rate: Float[Array, "..."], dt: float
    ) -> Mark:
        return self.mark(potential)

    @property
    def types(self) -> dict[str, AbstractNeuronModel]:
        return {"": self}

    def select(
        self, values: Sequence[Float[Array, "..."] | float]
    ) -> Float[Array, "..."] | float:
        return values[0]


class AbstractNeuron(AbstractRenewalNeuron):
    """A renewal neuron that is known by its hazard: for a neuron of your own.

    It needs the four fields (or properties) `tau_m`, `dead_time`, `shortest_dead_time` and `memory`, and the methods
    `mark` and `hazard`; `AbstractNeuronModel` says what they mean. All else has a default. If it has an `escape`, an
    `AbstractEscape`, that is its escape rate in `potential_in_step`; else that is the hazard at an age of `memory`. A
    conventional rate interpolates its stationary rate as that of any neuron. Where the hazard is a product of a function
    of the potential and one of age, derive from `AbstractSeparableNeuron`, which is faster.

    For instance a neuron that recovers with two time constants, and leaves no mark:

    >>> import equinox as eqx
    >>> import jax.numpy as jnp
    >>> import ratelike as rl
    >>> from jaxtyping import Array
    >>> class RecoveringNeuron(rl.extend.AbstractNeuron):
    ...     tau_m: Array  # s
    ...     dead_time: Array  # s
    ...     shortest_dead_time: float = eqx.field(static=True)  # s
    ...     memory: float = eqx.field(static=True)  # s
    ...
    ...     def mark(self, potential):
    ...         return None
    ...
    ...     def hazard(self, potential, age, mark):
    ...         left = jnp.exp(-age / 5e-3) + jnp.exp(-age / 20e-3)
    ...         return 20.0 * jnp.clip(potential - left, 0.0, 1e3) ** 2
    >>> neuron = RecoveringNeuron(jnp.asarray(10e-3), jnp.asarray(2e-3), 2e-3, 80e-3)
    >>> round(float(rl.stationary_rate(neuron, 2.0, 1e-3)), 1)
    39.1
    """

    def separate(self) -> None:
        return None

    def successive_hazards(
        self,
        ends: Sequence[Float[Array, "..."]],
        potentials: Sequence[Float[Array, "..."]],
        ages: Sequence[Float[Array, "..."]],
        marks: Sequence[Mark],
        dt: float,
    ) -> list[Float[Array, "..."]]:
        return one_by_one(self, potentials, ages, marks)


class AbstractSeparableNeuron(AbstractRenewalNeuron):
    """A renewal neuron whose hazard is a function of the potential times one of age: rho(h, a) = f(h) ratio(a).

    All neurons with one ratio share it: no exponential is left for each neuron and age, and the derivative of a
    generalised rate solves the adjoint equation backwards in time. It runs as fast as `SRM0`.

    A new one needs the four fields `tau_m`, `dead_time`, `shortest_dead_time` and `memory` of `AbstractNeuronModel`, and
    the three methods below. The ratio has to keep between exp(-45) and exp(20) from `shortest_dead_time` to `memory`
    (`ValueError` in a layer): so that f(h) ratio(a) is right wherever f(h) is a number. An `escape` is used as by
    `AbstractNeuron`. For instance a recovery that multiplies the escape rate:

    >>> import equinox as eqx
    >>> import jax.numpy as jnp
    >>> import ratelike as rl
    >>> from jaxtyping import Array
    >>> class RecoveringNeuron(rl.extend.AbstractSeparableNeuron):
    ...     tau_m: Array  # s
    ...     escape: rl.extend.AbstractEscape
    ...     dead_time: Array  # s
    ...     shortest_dead_time: float = eqx.field(static=True)  # s
    ...     memory: float = eqx.field(static=True)  # s
    ...
    ...     def escape_rate(self, potential):
    ...         return self.escape(potential)
    ...
    ...     def ratio(self, age):
    ...         return -jnp.expm1(-age / 10e-3)
    ...
    ...     def successive_ratios(self, ages, step):
    ...         return [self.ratio(age) for age in ages]
    >>> seconds = jnp.asarray([10e-3, 2e-3])
    >>> neuron = RecoveringNeuron(seconds[0], rl.SigmoidEscape(), seconds[1], 2e-3, 80e-3)
    >>> round(float(rl.stationary_rate(neuron, 2.0, 1e-3)), 1)
    37.1
    """

    @abc.abstractmethod
    def escape_rate(self, potential: Float[Array, "..."]) -> Float[Array, "..."]:
        """f(h) in hertz."""

    @abc.abstractmethod
    def ratio(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """rho(h, a) / f(h) outside the dead time, whatever h; the age is in seconds."""

    @abc.abstractmethod
    def successive_ratios(
        self, ages: Sequence[Float[Array, "..."]], step: float
    ) -> list[Float[Array, "..."]]:
        """`ratio` at ages that are `step` apart and at most `memory`: from one to the next, where that is cheaper."""

    def mark(self, potential: Float[Array, "..."]) -> None:
        return None

    def hazard(
        self, potential: Float[Array, "..."], age: Float[Array, "..."], mark: None
    ) -> Float[Array, "..."]:
        return self.escape_rate(potential) * self.ratio(age)

    def separate(self) -> Factors:
        return Factors(self.escape_rate, self.ratio)

    def successive_hazards(
        self,
        ends: Sequence[Float[Array, "..."]],
        potentials: Sequence[Float[Array, "..."]],
        ages: Sequence[Float[Array, "..."]],
        marks: Sequence[Mark],
        dt: float,
    ) -> list[Float[Array, "..."]]:
        rates, ratios = (
            mean_rates(self.escape_rate, ends),
            self.successive_ratios(ages, dt),
        )
        return [rate * ratio for rate, ratio in zip(rates, ratios, strict=True)]
