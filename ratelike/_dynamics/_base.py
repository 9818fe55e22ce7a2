"""What every dynamics does: turn a layer and its incoming path into outgoing increments."""

import abc
from typing import ClassVar

import diffrax
import equinox as eqx
from jaxtyping import Array, Bool, Float, Integer, PyTree

from ratelike._grid import TimeGrid
from ratelike._network import Layer
from ratelike._neuron import AbstractNeuron


class Recording(eqx.Module):
    """Chosen neurons of one layer over time."""

    neurons: Integer[Array, " recorded"]
    potential: Float[Array, "time recorded"]  # h at the beginning of each step
    activity: Float[
        Array, "time recorded"
    ]  # spikes, or their expected number, per step


class LayerOutput(eqx.Module):
    """What a layer hands on, and what was asked for besides."""

    increments: Float[Array, "time latents"]
    activity: Float[Array, " time"]  # spikes per neuron and step
    recording: Recording | None
    saved: PyTree  # what the caller's `diffrax.SaveAt` asked for
    succeeded: Bool[Array, ""]


class AbstractDynamics(eqx.Module):
    """Spiking or a rate: how the neurons of a layer respond to the path that comes in."""

    needs_key: ClassVar[bool]

    @abc.abstractmethod
    def check(self, name: str, neuron: AbstractNeuron, grid: TimeGrid) -> None:
        """Raises `ValueError` if the neuron (called `name`) cannot be run on the grid."""

    @abc.abstractmethod
    def __call__(
        self,
        layer: Layer,
        path: diffrax.AbstractPath,
        grid: TimeGrid,
        *,
        key: Array | None,
        first_tile: int | Integer[Array, ""],
        recorded: Integer[Array, " recorded"] | None,
    ) -> LayerOutput:
        """Runs one layer over the grid.

        `first_tile` numbers the first tile of random draws: 0 unless `layer` is a part of a larger population.
        """
