"""What every dynamics does: turn a layer and its incoming path into outgoing increments."""

import abc
from typing import Any, ClassVar

import diffrax
import equinox as eqx
from jaxtyping import Array, Integer

from ratelike._network import AbstractLayer
from ratelike._neuron import AbstractNeuronModel
from ratelike._population._layer_state import AbstractLayerState
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._grid import TimeGrid


class AbstractDynamics(eqx.Module):
    """Spiking or a rate: how the neurons of a layer respond to the path that comes in."""

    needs_key: ClassVar[bool]

    @abc.abstractmethod
    def neurons_at_once(
        self, neuron: AbstractNeuronModel, grid: TimeGrid
    ) -> int | None:
        """How many neurons should advance together, `TILE` times a power of two, or None for a whole layer.

        A layer is a sum over neurons: chunks that stay in the processor's cache run one after the other.
        """

    @abc.abstractmethod
    def check(self, name: str, layer: AbstractLayer, grid: TimeGrid) -> None:
        """Raises `ValueError` if the layer (called `name`) cannot be run on the grid."""

    @abc.abstractmethod
    def __call__(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        *,
        tile_keys: Array | None,
        recorded: Integer[Array, " recorded"] | None,
    ) -> LayerOutput:
        """Runs a population over the grid.

        `tile_keys` (tiles,) hold a random key for each tile of neurons, where the dynamics needs one. Where the
        population is packed, the path is a `GridPath` that holds one for each tile.
        """


class AbstractContinuingDynamics(AbstractDynamics):
    """One that can go on from a state, and tell the state at the end of a run."""

    @abc.abstractmethod
    def check_state(
        self,
        name: str,
        state: AbstractLayerState | None,
        layer: AbstractLayer,
        grid: TimeGrid,
    ) -> None:
        """Raises `ValueError` if a run of the layer (called `name`) cannot go on from `state`, or not at all.

        None is the state in which runs begin otherwise.
        """

    @abc.abstractmethod
    def run_piece(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        *,
        tile_keys: Array | None,
        recorded: Integer[Array, " recorded"] | None,
        initial: AbstractLayerState | None,
    ) -> LayerOutput:
        """Runs a population as `__call__` does, from a state, and tells the one at the end.

        Pieces of a run give the bits of the whole.
        """
