"""Synapses one after the other."""

import functools
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float

from ratelike import _validation as validation
from ratelike._signal._synapse._base import AbstractSynapse
from ratelike._signal._synapse._delay import Delay
from ratelike._types import PyTree

# What is accepted as a synapse.
SynapseLike: TypeAlias = AbstractSynapse | Sequence[AbstractSynapse]


class SynapseSequence(AbstractSynapse):
    """What goes out of one comes into the next; what a tuple or list of synapses becomes."""

    members: tuple[AbstractSynapse, ...]

    @property
    def num_latents(self) -> int | None:
        sizes = [each.num_latents for each in self.members]
        return max((size for size in sizes if size is not None), default=None)

    def check(self, name: str, dt: float) -> None:
        for index, each in enumerate(self.members):
            each.check(f"{name}[{index}]", dt)

    def initial(
        self, shape: tuple[int, ...], dtype: DTypeLike, dt: float
    ) -> tuple[PyTree, ...]:
        return tuple(each.initial(shape, dtype, dt) for each in self.members)

    def settled(self, signal: Float[Array, "*shape"], dt: float) -> tuple[PyTree, ...]:
        return tuple(each.settled(signal, dt) for each in self.members)

    def __call__(
        self,
        state: tuple[PyTree, ...],
        increments: Float[Array, "time *shape"],
        dt: float,
    ) -> tuple[tuple[PyTree, ...], Float[Array, "time *shape"]]:
        after = []
        for each, before in zip(self.members, state, strict=True):
            own, increments = each(before, increments, dt)
            after.append(own)
        return tuple(after), increments

    def transfer(
        self, angular_frequency: Float[Array, " frequencies"]
    ) -> Complex[Array, "frequencies *#latents"]:
        factors = [each.transfer(angular_frequency) for each in self.members]
        if len({factor.ndim for factor in factors}) > 1:
            factors = [factor.reshape(len(factor), -1) for factor in factors]
        return functools.reduce(operator.mul, factors)


def as_synapse(name: str, synapse: Any, num_latents: int) -> AbstractSynapse | None:
    """One synapse, several in sequence or none, all of them for the latents that come in."""
    if synapse is None:
        return None
    if not isinstance(synapse, (list, tuple)):
        _check(name, synapse, num_latents)
        return synapse
    if not synapse:
        raise ValueError(f"{name} must hold at least one synapse, got {synapse!r}")
    for index, each in enumerate(synapse):
        _check(f"{name}[{index}]", each, num_latents)
    return SynapseSequence(tuple(synapse))


def _check(name: str, synapse: Any, num_latents: int) -> None:
    validation.instance(name, synapse, AbstractSynapse)
    if synapse.num_latents not in (None, num_latents):
        raise ValueError(
            f"{name} must be for {num_latents} latents, got {validation.shown(synapse)}"
        )


def split_delay(
    synapse: AbstractSynapse | None,
) -> tuple[AbstractSynapse | None, float]:
    """The synapse without what delays all latents alike, and how long that is in all."""
    members = synapse.members if isinstance(synapse, SynapseSequence) else (synapse,)
    rest, delay = [], 0.0
    for each in members:
        if isinstance(each, Delay) and isinstance(each.duration, float):
            delay += each.duration
        elif each is not None:
            rest.append(each)
    if len(rest) > 1:
        return SynapseSequence(tuple(rest)), delay
    return (rest[0] if rest else None), delay
