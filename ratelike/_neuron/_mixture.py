"""Several types of neuron in one population."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._neuron._base import AbstractNeuronModel, Mark, one_by_one
from ratelike._types import Numbers


class Mixture(AbstractNeuronModel):
    r"""Neurons of several types in one layer: neuron i is of type neurons[kind[i]].

    `kind` is an array of whole numbers, one per neuron. Parameters of each type are scalars, or arrays over *all*
    neurons of the layer (of which a type reads the entries of its own). A mixture is a neuron like any other: its mark
    is the tuple of its types' marks, its dead time and tau_m are those of each neuron's type, and its memory is the
    longest; a type of shorter memory sees no age beyond its own.

    *Exactness.* That of its types; ages up to the longest memory are told apart for all of them.

    *Cost.* Every type is evaluated for every neuron and the right one chosen, so a mixture costs the sum of its types,
    each with the longest memory: `kind` may so be traced, batched, and cut into chunks. Where types differ in
    parameters only, one neuron with arrays for parameters is cheaper. The stationary rate is interpolated type by type
    (`ChebyshevRate`) where each type's parameters are scalars.

    `kind` is an array of integers: differentiate with `equinox.filter_grad`, which passes over it.

    Raises `ValueError` for no neurons, for one with adaptation, and for a `kind` that is not one-dimensional or names a type that is not there.
    """

    neurons: tuple[AbstractNeuronModel, ...]
    kind: Integer[Array, " neurons"]
    is_renewal: ClassVar[bool] = True
    can_spike: ClassVar[bool] = True

    def __init__(
        self,
        neurons: Sequence[AbstractNeuronModel],
        kind: Numbers,
    ) -> None:
        validation.instance("Mixture.neurons", neurons, Iterable)
        self.neurons = tuple(neurons)
        for index, neuron in enumerate(self.neurons):
            validation.instance(
                f"Mixture.neurons[{index}]", neuron, AbstractNeuronModel
            )
            if not neuron.is_renewal:
                raise ValueError(
                    f"Mixture.neurons[{index}] must remember nothing but its last spike, got {type(neuron).__name__}"
                )
        if not self.neurons:
            raise ValueError(
                "Mixture.neurons must hold at least one neuron type, got none"
            )
        self.kind = _checked_kind(kind, len(self.neurons))

    @property
    def types(self) -> dict[str, AbstractNeuronModel]:
        """Where a mixture is one of the neurons, its types."""
        return {
            f".neurons[{index}]{end}": each
            for index, neuron in enumerate(self.neurons)
            for end, each in neuron.types.items()
        }

    def select(
        self, values: Sequence[Float[Array, "..."] | float]
    ) -> Float[Array, "..."] | float:
        remaining = iter(values)
        own = [
            neuron.select([next(remaining) for _ in neuron.types])
            for neuron in self.neurons
        ]
        return self._chosen(own)

    def _chosen(
        self, values: Sequence[Float[Array, "..."] | float]
    ) -> Float[Array, "..."] | float:
        """For each neuron one of `values`, which are as many as `neurons`."""
        chosen = values[0]
        for index, value in enumerate(values[1:], start=1):
            chosen = jnp.where(self.kind == index, value, chosen)
        return chosen

    @property
    def tau_m(self) -> Float[Array, "*#neurons"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._chosen([neuron.tau_m for neuron in self.neurons])  # pyright: ignore[reportReturnType]

    @property
    def dead_time(self) -> Float[Array, "*#neurons"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._chosen([neuron.dead_time for neuron in self.neurons])  # pyright: ignore[reportReturnType]

    @property
    def shortest_dead_time(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return min(neuron.shortest_dead_time for neuron in self.neurons)

    @property
    def memory(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return max(neuron.memory for neuron in self.neurons)

    def mark(self, potential: Float[Array, "..."]) -> Mark:
        marks = tuple(neuron.mark(potential) for neuron in self.neurons)
        # As a whole it leaves no mark if no type does.
        return marks if jax.tree.leaves(marks) else None

    def hazard(
        self, potential: Float[Array, "..."], age: Float[Array, "..."], mark: Mark
    ) -> Float[Array, "..."]:
        marks = (None,) * len(self.neurons) if mark is None else mark
        hazards = [
            neuron.hazard(potential, jnp.minimum(age, neuron.memory), own)
            for neuron, own in zip(self.neurons, marks, strict=True)
        ]
        return self._chosen(hazards)  # pyright: ignore[reportReturnType]

    def successive_hazards(
        self,
        ends: Sequence[Float[Array, "..."]],
        potentials: Sequence[Float[Array, "..."]],
        ages: Sequence[Float[Array, "..."]],
        marks: Sequence[Mark],
        dt: float,
    ) -> list[Float[Array, "..."]]:
        return one_by_one(self, potentials, ages, marks)

    def separate(self) -> None:
        return None

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


def _checked_kind(kind: Numbers, num_types: int) -> Integer[Array, " neurons"]:
    if not validation.is_concrete(kind):
        kinds = jnp.asarray(kind)
        if not jnp.issubdtype(kinds.dtype, jnp.integer):
            raise ValueError(
                f"Mixture.kind must hold whole numbers, got an array of type {kinds.dtype}"
            )
    else:
        validation.parameter("Mixture.kind", kind)
        numbers = np.asarray(kind)
        if not np.issubdtype(numbers.dtype, np.integer):
            raise ValueError(
                f"Mixture.kind must hold whole numbers, got an array of type {numbers.dtype}"
            )
        outside = (numbers < 0) | (numbers >= num_types)
        if np.any(outside):
            raise ValueError(
                f"Mixture.kind must name types from 0 to {num_types - 1}, got {numbers[outside].flat[0]}"
            )
        kinds = jnp.asarray(numbers, dtype=jnp.int32)
    validation.shape("Mixture.kind", kinds, ("neurons",))
    return kinds
