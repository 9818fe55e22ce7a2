"""The generalised rate: the expected activity of each neuron, given its own input."""

from types import NoneType
from typing import Any, ClassVar

import diffrax
import equinox as eqx
from jaxtyping import Array, Integer

from ratelike import _validation as validation
from ratelike._density._age_shift import AgeShift
from ratelike._density._density_piece import DensityState
from ratelike._density._grid_scheme import GridScheme
from ratelike._density._lines_scheme import LinesScheme
from ratelike._density._saved import check_saved_times, saves_steps
from ratelike._density._scheme import AbstractScheme, SolveOptions
from ratelike._dynamics._base import AbstractContinuingDynamics
from ratelike._dynamics._potential_state import check_kind
from ratelike._network import AbstractLayer
from ratelike._neuron import AbstractNeuronModel, check_dead_time
from ratelike._population._layer_state import AbstractLayerState
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._grid import TimeGrid


class GeneralisedRate(AbstractContinuingDynamics):
    r"""r_j = expected activity of neuron j, marginalised over its spike histories: the N -> infinity limit.

    Each neuron is a time-dependent renewal process, solved by diffrax as a refractory density (`RefractoryDensity`)
    over the age since the last spike. Given the input it has no statistical error.

    `solver`
        `AgeShift()` is exact on the grid: the expectation of the discrete spiking neuron at any dt. Any other diffrax
        solver, explicit or implicit, runs the method of lines with age bins of `age_step` seconds (default: 2 dt); its
        input is the piecewise linear path through the increments, or the drive itself where that is a diffrax path.
        Explicit solvers need steps shorter than `age_step` (Courant's condition), which the default provides.
    `stepsize_controller`
        For the method of lines: steps of dt by default, or an adaptive controller for smooth input.
    `max_steps`
        For the method of lines: the largest number of steps before it gives up. `AgeShift` takes the steps of the grid.
    `adjoint`, `progress_meter`
        Handed to `diffrax.diffeqsolve`. The default adjoint serves reverse mode: where the hazard is a function of the
        potential times one of age, it solves the adjoint of the renewal equation backwards in time; elsewhere, with
        feedback and for recorded neurons it is `diffrax.RecursiveCheckpointAdjoint`. Forward mode needs `diffrax.ForwardMode()`.
    `saveat`
        A `diffrax.SaveAt` of what else to save; its `fn(t, density, args)` sees the `RefractoryDensity`, with either
        solver. The result is in `trajectory.saved[layer]`, as a pair (ts, ys). By default no density over time is
        stored. With it the neurons of a layer advance all at once, and `AgeShift` step by step.

    Schmutz, Brea and Gerstner, Phys. Rev. Lett. 134, 018401 (2025), for the memoryless case; *Neuronal Dynamics*,
    chapter 14, for the density.

    Raises `ValueError` for `age_step` <= 0, for an age step or a step-size controller beside `AgeShift` (which knows
    one step), for `SaveAt(dense=True)` or `SaveAt(steps=True)` with adaptive steps, and in `simulate` for a dead time
    off the grid of ages and for times to save that lie outside the grid.
    """

    solver: diffrax.AbstractSolver[Any]
    stepsize_controller: diffrax.AbstractStepSizeController[Any, Any] | None
    adjoint: diffrax.AbstractAdjoint | None
    progress_meter: diffrax.AbstractProgressMeter[Any]
    saveat: diffrax.SaveAt | None
    age_step: float | None = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    needs_key: ClassVar[bool] = False

    def __init__(
        self,
        solver: diffrax.AbstractSolver[Any] | None = None,
        stepsize_controller: diffrax.AbstractStepSizeController[Any, Any] | None = None,
        adjoint: diffrax.AbstractAdjoint | None = None,
        progress_meter: diffrax.AbstractProgressMeter[Any] | None = None,
        saveat: diffrax.SaveAt | None = None,
        age_step: float | None = None,
        max_steps: int = 1_000_000,
    ) -> None:
        self.solver = AgeShift() if solver is None else solver
        validation.instance(
            "GeneralisedRate.solver", self.solver, diffrax.AbstractSolver
        )
        optional = {
            "stepsize_controller": (
                stepsize_controller,
                diffrax.AbstractStepSizeController,
            ),
            "adjoint": (adjoint, diffrax.AbstractAdjoint),
            "progress_meter": (progress_meter, diffrax.AbstractProgressMeter),
            "saveat": (saveat, diffrax.SaveAt),
        }
        for name, (value, kind) in optional.items():
            if value is not None:
                validation.instance(f"GeneralisedRate.{name}", value, kind)
        self.stepsize_controller = stepsize_controller
        self.adjoint = adjoint
        self.progress_meter = (
            diffrax.NoProgressMeter() if progress_meter is None else progress_meter
        )
        self.saveat = saveat
        self.age_step = (
            None
            if age_step is None
            else validation.number("GeneralisedRate.age_step", age_step, above=0.0)
        )
        self.max_steps = validation.count("GeneralisedRate.max_steps", max_steps)
        self._scheme.check_options()
        if saveat is not None and saveat.dense:
            raise ValueError(
                "GeneralisedRate.saveat must not be dense, which stores the density at every step; "
                "name the times with SaveAt(ts=...)"
            )
        adaptive = not isinstance(
            stepsize_controller, (NoneType, diffrax.ConstantStepSize)
        )
        if adaptive and saves_steps(saveat):
            raise ValueError(
                f"GeneralisedRate.saveat must not have steps=True with adaptive steps, got {validation.shown(saveat)}; "
                "name the times with SaveAt(ts=...)"
            )

    @property
    def _scheme(self) -> AbstractScheme:
        """The one place that asks what kind of solver it is."""
        options = SolveOptions(
            self.stepsize_controller,
            self.adjoint,
            self.progress_meter,
            self.saveat,
            self.age_step,
            self.max_steps,
        )
        if isinstance(self.solver, AgeShift):
            return GridScheme(solver=self.solver, options=options)
        return LinesScheme(solver=self.solver, options=options)

    def neurons_at_once(
        self, neuron: AbstractNeuronModel, grid: TimeGrid
    ) -> int | None:
        return self._scheme.neurons_at_once(neuron, grid)

    def check(self, name: str, layer: AbstractLayer, grid: TimeGrid) -> None:
        age_step = self._scheme.age_step(grid)
        check_dead_time(f"{name}.neuron", layer.neuron, age_step)
        check_saved_times("GeneralisedRate.saveat", self.saveat, grid)
        self._scheme.check(name, layer)

    def __call__(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        *,
        tile_keys: Array | None = None,
        recorded: Integer[Array, " recorded"] | None = None,
    ) -> LayerOutput:
        population = eqx.tree_at(
            lambda p: p.neuron, population, population.neuron.expected
        )
        return self._scheme.solve(population, path, grid, recorded)

    def check_state(
        self,
        name: str,
        state: AbstractLayerState | None,
        layer: AbstractLayer,
        grid: TimeGrid,
    ) -> None:
        check_kind(name, state, DensityState, "GeneralisedRate()")
        self._scheme.check_state(name, state, layer.neuron.expected, grid.dt)

    def run_piece(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        *,
        tile_keys: Array | None = None,
        recorded: Integer[Array, " recorded"] | None = None,
        initial: AbstractLayerState | None,
    ) -> LayerOutput:
        population = eqx.tree_at(
            lambda p: p.neuron, population, population.neuron.expected
        )
        return self._scheme.solve_piece(population, path, grid, recorded, initial)
