"""A numerical scheme for the refractory density, and what its two kinds have in common."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax.numpy as jnp
from equinox import AbstractVar
from jaxtyping import Array, Bool, Float, Integer

from ratelike._density._saved import seeing_densities
from ratelike._density._state import RefractoryDensity
from ratelike._network import AbstractLayer
from ratelike._neuron import AbstractNeuronModel
from ratelike._population._layer_state import AbstractLayerState
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Decoded, Population
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree


class SolveOptions(eqx.Module):
    """What a caller may ask for beside a solver: see `GeneralisedRate`."""

    stepsize_controller: diffrax.AbstractStepSizeController | None
    adjoint: diffrax.AbstractAdjoint | None
    progress_meter: diffrax.AbstractProgressMeter
    saveat: diffrax.SaveAt | None
    age_step: float | None = eqx.field(static=True)  # s
    max_steps: int = eqx.field(static=True)


class AbstractScheme(eqx.Module):
    """A diffrax solver, and the equations of the density as this solver takes them."""

    options: AbstractVar[SolveOptions]

    @abc.abstractmethod
    def check_options(self) -> None:
        """Raises `ValueError` for options that the scheme has no use for."""

    @abc.abstractmethod
    def check(self, name: str, layer: AbstractLayer) -> None:
        """Raises `ValueError` if the layer (called `name`) cannot be solved."""

    @abc.abstractmethod
    def age_step(self, grid: TimeGrid) -> float:
        """The width of the age bins in seconds."""

    @abc.abstractmethod
    def neurons_at_once(
        self, neuron: AbstractNeuronModel, grid: TimeGrid
    ) -> int | None:
        """How many neurons should advance together; None for a whole layer."""

    @abc.abstractmethod
    def solve(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
    ) -> LayerOutput:
        """The layer's answer to `path` over the grid."""

    @abc.abstractmethod
    def check_state(
        self,
        name: str,
        state: AbstractLayerState | None,
        neuron: AbstractNeuronModel,
        dt: float,
    ) -> None:
        """Raises `ValueError` if a run of the layer (called `name`) cannot go on from `state`, or not at all."""

    @abc.abstractmethod
    def solve_piece(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
        initial: AbstractLayerState | None,
    ) -> LayerOutput:
        """The same from a state, with the state at the end."""


class Solution(NamedTuple):
    """What diffrax has saved."""

    own: PyTree  # for the scheme
    for_caller: tuple[PyTree, PyTree] | None  # times and values
    reached_end: Bool[Array, ""]


def diffeqsolve(
    terms: diffrax.AbstractTerm,
    solver: diffrax.AbstractSolver,
    options: SolveOptions,
    controller: diffrax.AbstractStepSizeController,
    interval: tuple[Float[Array, ""], Float[Array, ""]],
    dt0: float | None,
    initial: PyTree,
    args: PyTree,
    *,
    own: PyTree[diffrax.SubSaveAt],
    density_of: Callable[[Any, Any], RefractoryDensity],
    adjoint: diffrax.AbstractAdjoint,
    max_steps: int,
) -> Solution:
    """Saves what `own` says and what the caller wants; `adjoint` is used unless the caller chose another one."""
    for_caller = None
    if options.saveat is not None:
        for_caller = seeing_densities(options.saveat.subs, density_of)
    solution = diffrax.diffeqsolve(
        terms,
        solver,
        *interval,
        dt0,
        initial,
        args=args,
        saveat=diffrax.SaveAt(subs=(own, for_caller)),
        stepsize_controller=controller,
        adjoint=adjoint if options.adjoint is None else options.adjoint,
        max_steps=max_steps,
        progress_meter=options.progress_meter,
        throw=False,
    )
    times: Any = solution.ts
    saved: Any = solution.ys
    return Solution(
        saved[0],
        None if for_caller is None else (times[1], saved[1]),
        solution.result == diffrax.RESULTS.successful,
    )


def layer_output(
    decoded: Decoded,
    recording: Recording | None,
    saved: PyTree,
    reached_end: Bool[Array, ""],
) -> LayerOutput:
    succeeded = reached_end & jnp.all(jnp.isfinite(decoded.columns))
    return LayerOutput(decoded, recording, saved, succeeded)
