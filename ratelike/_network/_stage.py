"""What a run engine needs to know of a layer: how its neurons are cut into chunks, and how the chunks add up."""

import abc
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from ratelike._network._layer import AbstractLayer
from ratelike._neuron import AbstractNeuronModel
from ratelike._numerics._tile_random import TILE, tile_keys
from ratelike._population._population import Decoded, Population
from ratelike._population._sums import Workers, sum_over_chunks
from ratelike._signal._synapse import AbstractSynapse
from ratelike._types import PyTree

# Of the number of a chunk, and of the arrays that all chunks share.
# Returns what a chunk decodes, whether it succeeded, and the state of its neurons where that is asked for.
RunChunk = Callable[[Int[Array, ""], PyTree[Array]], tuple[Any, ...]]


class AbstractStage(eqx.Module):
    """One layer of a run: that of one network, or those of several networks of one size side by side.

    A chunk is `num_tiles` tiles of neurons from `first_tile` on; all neurons, where both are None.
    """

    @property
    @abc.abstractmethod
    def neuron(self) -> AbstractNeuronModel:
        """Which neurons run."""

    @property
    @abc.abstractmethod
    def num_neurons(self) -> int:
        """How many neurons run."""

    @property
    @abc.abstractmethod
    def is_recurrent(self) -> bool:
        """Whether the neurons hear each other, so that they have to advance together."""

    @property
    @abc.abstractmethod
    def synapse(self) -> AbstractSynapse | None:
        """What the incoming path passes through, once for all chunks."""

    @property
    @abc.abstractmethod
    def dtype(self) -> jnp.dtype:
        """The floating-point type of the connections."""

    @abc.abstractmethod
    def population(
        self, first_tile: Int[Array, ""] | None, num_tiles: int | None
    ) -> Population:
        """The neurons of a chunk."""

    @abc.abstractmethod
    def path(
        self,
        path: diffrax.AbstractPath[Any],
        first_tile: Int[Array, ""] | None,
        num_tiles: int | None,
    ) -> diffrax.AbstractPath[Any]:
        """The part of the incoming path that a chunk receives."""

    @abc.abstractmethod
    def tile_keys(
        self, key: Array, first_tile: Int[Array, ""] | None, num_tiles: int | None
    ) -> Array:
        """A key for each tile of a chunk, from the key (or keys) of the layer."""

    @abc.abstractmethod
    def over_chunks(
        self, run_chunk: RunChunk, count: int, workers: Workers, arrays: PyTree[Array]
    ) -> tuple[Any, ...]:
        """What `count` chunks decode, put together, whether all of them succeeded, and their states where they have one.

        `arrays` are those that `run_chunk` takes: see `sum_over_chunks`.
        """

    @abc.abstractmethod
    def mean(self, decoded: Decoded) -> Decoded:
        """What all neurons decode, per neuron of a network."""


class LayerStage(AbstractStage):
    """A layer of one network: its neurons share a path, and all chunks add up."""

    layer: AbstractLayer

    @property
    def neuron(self) -> AbstractNeuronModel:
        return self.layer.neuron

    @property
    def num_neurons(self) -> int:
        return self.layer.num_neurons

    @property
    def is_recurrent(self) -> bool:
        return self.layer.feedback is not None

    @property
    def synapse(self) -> AbstractSynapse | None:
        return self.layer.synapse

    @property
    def dtype(self) -> jnp.dtype:
        return self.layer.dtype

    def population(
        self, first_tile: Int[Array, ""] | None, num_tiles: int | None
    ) -> Population:
        return self.layer.population(first_tile, num_tiles)

    def path(
        self,
        path: diffrax.AbstractPath[Any],
        first_tile: Int[Array, ""] | None,
        num_tiles: int | None,
    ) -> diffrax.AbstractPath[Any]:
        return path

    def tile_keys(
        self, key: Array, first_tile: Int[Array, ""] | None, num_tiles: int | None
    ) -> Array:
        if first_tile is None or num_tiles is None:
            return tile_keys(key, self.num_neurons)
        return tile_keys(key, num_tiles * TILE, first_tile)

    def over_chunks(
        self, run_chunk: RunChunk, count: int, workers: Workers, arrays: PyTree[Array]
    ) -> tuple[Any, ...]:
        return sum_over_chunks(run_chunk, count, workers, arrays)

    def mean(self, decoded: Decoded) -> Decoded:
        return jax.tree.map(lambda total: total / self.num_neurons, decoded)
