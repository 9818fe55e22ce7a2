"""What the dynamics see of a neuron."""

import abc
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from equinox import AbstractVar
from jaxtyping import Array, Float

from ratelike._escape import AbstractEscape, acting_potential
from ratelike._types import PyTree

Elementwise = Callable[[Float[Array, "..."]], Float[Array, "..."]]
Mark = PyTree[Float[Array, "..."]]
Trace = PyTree[Float[Array, "..."]]


class Factors(NamedTuple):
    """A hazard of two factors, rho(h, a) = rate(h) ratio(a): then hs need not be known, rate(hs) is a mean of rates."""

    rate: Elementwise  # Hz, of the potential
    ratio: Elementwise  # of the age in seconds


class AbstractNeuronModel(eqx.Module):
    """A neuron as the dynamics see it. To write one, derive from `AbstractNeuron` or `AbstractSeparableNeuron`.

    The last spike acts through the age a (time since it) and through a *mark*: what the spike left behind, and which
    then travels with the age. Parameters are scalars or (neurons,) arrays. Functions act elementwise, so that one
    definition serves a vector of spiking neurons and a matrix (ages, neurons) of a refractory density.

    *On the grid.* The potential of a step, in `hazard` and `mark`, is the one at which the escape rate is the mean of
    that at both ends of the step. In the step n + k + 1 after a spike in step n the age is (k + 1) dt, or `memory` if
    that is less; a spike is possible where the age is at least `dead_time`. So the shortest interval is `dead_time`, and
    the largest rate 1/`dead_time` (1/dt without one). Where the age is `dead_time` the hazard counts half, since half of
    the moments of two such steps are less than a dead time apart (but not where that is `memory`, too).

    *Rates.* A density over age belongs to the neuron `expected`, which is the neuron itself where all that it remembers
    is its last spike. Otherwise `expected` replaces the spikes before it by *traces* of the expected activity.
    """

    tau_m: AbstractVar[Float[Array, "*#neurons"]]  # s; membrane time constant
    dead_time: AbstractVar[Float[Array, "*#neurons"]]  # s; no spike at ages below it
    shortest_dead_time: AbstractVar[float]  # s; static, at most that of any neuron
    # s; static, from this age on the age no longer matters; need not be a multiple of dt
    memory: AbstractVar[float]
    is_renewal: ClassVar[bool]  # whether the last spike is all it remembers
    can_spike: ClassVar[bool]

    @abc.abstractmethod
    def mark(self, potential: Float[Array, "..."]) -> Mark:
        """What the last spike, at input potential `potential`, leaves behind; `None` if nothing.

        Where marks fade, it is the mark of a neuron that has never fired.
        """

    @abc.abstractmethod
    def hazard(
        self, potential: Float[Array, "..."], age: Float[Array, "..."], mark: Mark
    ) -> Float[Array, "..."]:
        """rho(h, a, mark) in hertz, outside the dead time (which the caller applies)."""

    @abc.abstractmethod
    def successive_hazards(
        self,
        ends: Sequence[Float[Array, "..."]],
        potentials: Sequence[Float[Array, "..."]],
        ages: Sequence[Float[Array, "..."]],
        marks: Sequence[Mark],
        dt: float,
    ) -> list[Float[Array, "..."]]:
        """`hazard` in successive steps without a spike.

        `ends` are the input potentials before, between and after the steps; `potentials` act in them. Ages are `dt`
        apart and at most `memory`.
        """

    @abc.abstractmethod
    def separate(self) -> Factors | None:
        """Both factors of the hazard, where it has two, no mark, and numbers whose product is right. A static decision."""

    @abc.abstractmethod
    def faded(self, mark: Mark, seconds: Float[Array, "..."] | float) -> Mark:
        """The mark so much later, without a spike in between."""

    @abc.abstractmethod
    def mark_after_spike(
        self, potential: Float[Array, "..."], mark: Mark, dt: float
    ) -> Mark:
        """The mark in the step after a spike, if it was `mark` in the step of the spike."""

    @property
    @abc.abstractmethod
    def expected(self) -> "AbstractNeuronModel":
        """The neuron as the rate dynamics see it."""

    @abc.abstractmethod
    def initial_trace(self, potential: Float[Array, "..."]) -> Trace:
        """The traces of a density of neurons that have never fired."""

    @abc.abstractmethod
    def newborn(
        self,
        potential: Float[Array, "..."],
        trace: Trace,
        activity: Float[Array, "..."],
        dt: float,
    ) -> tuple[Mark, Trace]:
        """After a step of expected `activity`: the mark of those that fired in it, and the traces."""

    @abc.abstractmethod
    def stationary_mark(
        self, potential: Float[Array, "..."], rate: Float[Array, "..."], dt: float
    ) -> Mark:
        """The mark of each spike at constant potential and a constant rate in hertz."""

    @property
    @abc.abstractmethod
    def types(self) -> "dict[str, AbstractNeuronModel]":
        """The types of neuron in the population, by the ends of their names."""

    @abc.abstractmethod
    def select(
        self, values: Sequence[Float[Array, "..."] | float]
    ) -> Float[Array, "..."] | float:
        """For each neuron the value of its own type; `values` holds one for each of `types`."""

    def by_type(
        self,
        make: "Callable[[AbstractNeuronModel], Callable[..., Float[Array, '...']]]",
    ) -> Callable[..., Float[Array, "..."]]:
        """The function of arrays that is `make(type)` for each neuron's own type."""
        functions = [make(each) for each in self.types.values()]

        def of_all(*arrays: Float[Array, "..."]) -> Float[Array, "..."]:
            return self.select([function(*arrays) for function in functions])  # pyright: ignore[reportReturnType]

        return of_all

    @property
    def own_memory(self) -> float | Float[Array, " neurons"]:
        """In a mixture that of each neuron's type."""
        return self.select([each.memory for each in self.types.values()])

    def potential_in_step(
        self, start: Float[Array, "..."], end: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """hs: the potential at which the escape rate is the mean of that at both ends of the step.

        For every neuron, dynamics, mark and recording it is the one potential of the step.
        """
        return self.by_type(_acting_potential)(start, end)


def _acting_potential(
    neuron: AbstractNeuronModel,
) -> Callable[..., Float[Array, "..."]]:
    """Of one type. Without an `escape`, the escape rate is the hazard at an age of `memory`."""
    escape = getattr(neuron, "escape", None)
    if isinstance(escape, AbstractEscape):
        return functools.partial(acting_potential, escape)

    def rate(potential: Float[Array, "..."]) -> Float[Array, "..."]:
        age = jnp.full_like(potential, neuron.memory)
        return neuron.hazard(potential, age, neuron.mark(potential))

    return functools.partial(acting_potential, rate)


def one_by_one(
    neuron: AbstractNeuronModel,
    potentials: Sequence[Float[Array, "..."]],
    ages: Sequence[Float[Array, "..."]],
    marks: Sequence[Mark],
) -> list[Float[Array, "..."]]:
    """The hazards of a neuron that knows no shorter way to successive ones."""
    steps = zip(potentials, ages, marks, strict=True)
    return [neuron.hazard(*step) for step in steps]


def mean_rates(
    rate: Elementwise, ends: Sequence[Float[Array, "..."]]
) -> list[Float[Array, "..."]]:
    """f(hs) in successive steps: the mean of f at both ends of each."""
    rates = [rate(h) for h in ends]
    return [0.5 * (a + b) for a, b in itertools.pairwise(rates)]
