"""The neuron with adaptation as a refractory density sees it."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._escape import AbstractEscape
from ratelike._neuron._base import AbstractNeuronModel, one_by_one
from ratelike._neuron._closure import Adaptation, Term
from ratelike._refractory import AbstractRefractory

Traces = tuple[Float[Array, "..."], ...]


class Past(NamedTuple):
    """A mark."""

    last: Traces  # what is left of the after-potentials of the last spike: exp(-a / tau_i)
    earlier: Traces  # of the expected activity before it, for each term of the closure


class AveragedPast(AbstractNeuronModel):
    r"""The last spike as it is, those before it by a sum of traces of the expected activity:

        u = h + eta(a) - sum_i amplitude_i exp(-a/tau_i) + sum_n c_n y_n,    y_n = int_{s > a} exp(-s/tau_n) r(t - s) ds.

    `AdaptiveSRM.expected` makes it from a closure. It cannot spike.
    """

    tau_m: Float[Array, "*#neurons"]
    escape: AbstractEscape
    refractory: AbstractRefractory
    adaptation: tuple[Adaptation, ...]
    terms: tuple[Term, ...]
    is_renewal: ClassVar[bool] = False
    can_spike: ClassVar[bool] = False

    def __init__(
        self,
        tau_m: Float[Array, "*#neurons"],
        escape: AbstractEscape,
        refractory: AbstractRefractory,
        adaptation: tuple[Adaptation, ...],
        terms: tuple[Term, ...],
    ) -> None:
        self.tau_m, self.escape, self.refractory = tau_m, escape, refractory
        self.adaptation, self.terms = adaptation, terms

    @property
    def dead_time(self) -> Float[Array, "*#neurons"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.dead_time

    @property
    def shortest_dead_time(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.shortest_dead_time

    @property
    def memory(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.memory

    @property
    def types(self) -> dict[str, AbstractNeuronModel]:
        return {"": self}

    def select(
        self, values: Sequence[Float[Array, "..."] | float]
    ) -> Float[Array, "..."] | float:
        return values[0]

    @property
    def expected(self) -> "AveragedPast":
        return self

    def mark(self, potential: Float[Array, "..."]) -> Past:
        nothing = tuple(jnp.zeros_like(potential) for _ in self.adaptation)
        return Past(nothing, self.initial_trace(potential))

    def faded(self, mark: Past, seconds: Float[Array, "..."] | float) -> Past:
        return Past(
            faded_traces(mark.last, self.adaptation, seconds),
            faded_traces(mark.earlier, self.terms, seconds),
        )

    def mark_after_spike(
        self, potential: Float[Array, "..."], mark: Past, dt: float
    ) -> NoReturn:
        raise NotImplementedError("AveragedPast does not spike")

    def initial_trace(self, potential: Float[Array, "..."]) -> Traces:
        return tuple(jnp.zeros_like(potential) for _ in self.terms)

    def newborn(
        self,
        potential: Float[Array, "..."],
        trace: Traces,
        activity: Float[Array, "..."],
        dt: float,
    ) -> tuple[Past, Traces]:
        mark = self.faded(self._mark_of_spike(trace), dt)
        with_activity = jax.tree.map(lambda z: z + activity, trace)
        return mark, faded_traces(with_activity, self.terms, dt)

    def stationary_mark(
        self, potential: Float[Array, "..."], rate: Float[Array, "..."], dt: float
    ) -> Past:
        trace = tuple(rate * dt / jnp.expm1(dt / term.tau) for term in self.terms)
        return self._mark_of_spike(trace)

    def _mark_of_spike(self, trace: Traces) -> Past:
        """From the traces of the activity before it."""
        ones = jax.tree.map(jnp.ones_like, trace[0])
        return Past((ones,) * len(self.adaptation), trace)

    def hazard(
        self,
        potential: Float[Array, "..."],
        age: Float[Array, "..."],
        mark: Past,
    ) -> Float[Array, "..."]:
        for left, each in zip(mark.last, self.adaptation, strict=True):
            potential = potential - each.amplitude * left
        for trace, term in zip(mark.earlier, self.terms, strict=True):
            potential = potential + term.coefficient * trace
        return self.escape(potential + self.refractory(age))

    def successive_hazards(
        self,
        ends: Sequence[Float[Array, "..."]],
        potentials: Sequence[Float[Array, "..."]],
        ages: Sequence[Float[Array, "..."]],
        marks: Sequence[Past],
        dt: float,
    ) -> list[Float[Array, "..."]]:
        return one_by_one(self, potentials, ages, marks)

    def separate(self) -> None:
        return None


def faded_traces(
    traces: Traces,
    exponentials: tuple[Adaptation | Term, ...],
    seconds: Float[Array, "..."] | float,
) -> Traces:
    return tuple(
        trace * jnp.exp(-seconds / each.tau)
        for trace, each in zip(traces, exponentials, strict=True)
    )
