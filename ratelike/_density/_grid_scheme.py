"""The exact scheme: `AgeShift` on the simulation's grid, in blocks of steps."""

import dataclasses
import functools
import math
from typing import Any

import diffrax
import jax
from jaxtyping import Array, Bool, Integer

from ratelike import _validation as validation
from ratelike._density import _reverse as reverse
from ratelike._density._age_shift import AgeShift
from ratelike._density._density_piece import DensityShared, DensityState
from ratelike._density._grid_solution import (
    LAST,
    READOUT,
    no_later,
    solve_blocks,
    solve_with_ends,
)
from ratelike._density._renewal_problem import (
    RenewalProblem,
    renewal_problem,
    with_piece,
)
from ratelike._density._scheme import (
    AbstractScheme,
    SolveOptions,
    layer_output,
)
from ratelike._network import AbstractLayer
from ratelike._neuron import AbstractNeuronModel, check_renewal
from ratelike._neuron._ages import oldest_age
from ratelike._numerics import _platform as platform
from ratelike._numerics._time_blocks import in_time
from ratelike._population._chunk_size import chunk_size
from ratelike._population._layer_state import AbstractLayerState, SettledState
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Population
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree

# Steps of a block, the same for runs of all lengths: masses are divided by their sum at its beginning, and the last bit
# of a matrix product depends on how many rows it has. On a GPU a block costs the launch of its kernels.
STEPS = 50
STEPS_ON_GPU = 100
# Where the memory is shorter, blocks are not made as short as it is.
FEWEST_STEPS = 8


class GridScheme(AbstractScheme):
    """One step of age per step of the grid, moved exactly."""

    solver: AgeShift
    options: SolveOptions

    def check_options(self) -> None:
        for name in ("age_step", "stepsize_controller"):
            value = getattr(self.options, name)
            if value is not None:
                raise ValueError(
                    f"GeneralisedRate.{name} must be None with AgeShift, which steps on the simulation's grid, got {validation.shown(value)}"
                )

    def check(self, name: str, layer: AbstractLayer) -> None:
        """Every layer can be solved."""

    def check_state(
        self,
        name: str,
        state: AbstractLayerState | None,
        neuron: AbstractNeuronModel,
        dt: float,
    ) -> None:
        if isinstance(state, SettledState):
            check_renewal(f"{name}.neuron", neuron, "a stationary density")
        if not isinstance(state, DensityState):
            return
        own = self.solver.mesh.schedule_of(neuron, dt)
        if state.schedule != own:
            raise ValueError(
                f"initial must have the ages of {name} under this AgeMesh, {own.num_bins} bins up to {own.memory} steps, got "
                f"{state.schedule.num_bins} bins up to {state.schedule.memory} steps"
            )

    def age_step(self, grid: TimeGrid) -> float:
        return grid.dt

    def neurons_at_once(
        self, neuron: AbstractNeuronModel, grid: TimeGrid
    ) -> int | None:
        """As many as have their densities in cache; all of them where the caller looks at the density or at progress."""
        is_silent = isinstance(self.options.progress_meter, diffrax.NoProgressMeter)
        if self.options.saveat is not None or not is_silent:
            return None
        schedule = self.solver.mesh.schedule_of(neuron, grid.dt)
        arrays = 1 if schedule.num_levels == 1 else 2  # masses, and upper fractions
        kept = arrays * schedule.num_bins
        block = self.block(oldest_age(neuron, grid.dt))
        states = block * self.blocks_between_ends(grid, block) * (kept + schedule.dead)
        return chunk_size(kept, states)

    def block(self, memory: int) -> int:
        """Steps of the grid in one step of the solver; one where the caller looks at each."""
        if self.options.saveat is not None:
            return 1
        longest = STEPS_ON_GPU if platform.has_gpu() else STEPS
        # The adjoint wants blocks no longer than the memory.
        return memory if FEWEST_STEPS <= memory < longest else longest

    def blocks_between_ends(self, grid: TimeGrid, block: int) -> int:
        """Of several chunks reverse mode keeps the states between so many blocks, of one those within: about the root of all."""
        return max(1, round(2.0 * math.sqrt(grid.num_steps) / block))

    def solve(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
    ) -> LayerOutput:
        if population.recurrence is not None:
            # As a piece, so that pieces have its bits: what is sent round a loop is rounded alike in one program only.
            output = self.solve_piece(population, path, grid, recorded, None)
            return dataclasses.replace(output, final=None)
        problem = self._problem(population, path, grid, recorded)
        memory, block = oldest_age(population.neuron, grid.dt), problem.path.shape[1]
        between_ends = self.blocks_between_ends(grid, block)
        if problem.schedule.num_levels == 1:
            between_ends = min(between_ends, max(1, memory // block))
        options = self.options
        # The scheme's own derivative, unless another one is asked for.
        ours = options.adjoint is None and type(self.solver) is AgeShift
        if ours and options.saveat is None and reverse.is_reversible(problem):
            num_blocks = between_ends * -(-len(problem.path) // between_ends)
            problem = problem.with_blocks(num_blocks)
            solve = functools.partial(
                solve_with_ends, self.solver, options, between_ends
            )
            decoded, reached_end = reverse.solved(
                problem, solve, self.neurons_at_once(population.neuron, grid)
            )
            kept, saved = (decoded, None), None
        else:
            kept, saved, reached_end = solve_blocks(
                self.solver, self.options, problem, READOUT
            )
        kept = jax.tree.map(lambda x: in_time(x, grid.num_steps), kept)
        return _output(kept, saved, reached_end, grid, recorded)

    def solve_piece(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
        initial: AbstractLayerState | None,
    ) -> LayerOutput:
        increments = grid_increments(path, grid, population.bias.dtype)
        problem = self._problem(population, path, grid, recorded)
        problem = with_piece(problem, initial, increments)
        assert problem.piece is not None
        window = problem.piece.window(problem.path.shape[1])
        (kept, ends), saved, reached_end = solve_blocks(
            self.solver, self.options, problem, (READOUT, LAST)
        )
        start, under_way = jax.tree.map(lambda x: x[0], ends)
        step = problem.piece.shared.step + grid.num_steps
        final = DensityState(start, DensityShared(step, under_way), problem.schedule)
        output = _output(
            jax.tree.map(window.in_time, kept), saved, reached_end, grid, recorded
        )
        return dataclasses.replace(output, final=final)

    def _problem(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
    ) -> RenewalProblem:
        # Another path is cut into the grid's increments, so that every dynamics sees the same input.
        return renewal_problem(
            population,
            self.solver.mesh,
            grid.dt,
            grid_increments(path, grid, population.bias.dtype),
            self.block(oldest_age(population.neuron, grid.dt)),
            recorded,
        )


def _output(
    kept: PyTree,
    saved: PyTree,
    reached_end: Bool[Array, ""],
    grid: TimeGrid,
    recorded: Integer[Array, " recorded"] | None,
) -> LayerOutput:
    decoded, traces = kept
    recording = None if recorded is None else Recording(recorded, *traces)
    if saved is not None:
        saved = (no_later(saved[0], grid.duration), saved[1])
    return layer_output(decoded, recording, saved, reached_end)
