"""The exact scheme: `AgeShift` on the simulation's grid, in blocks of steps."""

import functools
import math
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ratelike import _validation as validation
from ratelike._density import _reverse as reverse
from ratelike._density._age_shift import AgeShift
from ratelike._density._grid_steps import GridSteps
from ratelike._density._renewal_problem import (
    RenewalProblem,
    initial_state,
    refractory_density,
    renewal_problem,
)
from ratelike._density._renewal_term import RenewalTerm
from ratelike._density._scheme import (
    AbstractScheme,
    Solution,
    SolveOptions,
    diffeqsolve,
    layer_output,
)
from ratelike._density._state import GridState, RefractoryDensity, Scalar
from ratelike._network import AbstractLayer
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._ages import oldest_age
from ratelike._numerics import _platform as platform
from ratelike._numerics._time_blocks import in_time
from ratelike._population._chunk_size import chunk_size
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Decoded, Population
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
        dtype = population.bias.dtype
        memory = oldest_age(population.neuron, grid.dt)
        block = self.block(memory)
        # Another path is cut into the grid's increments, so that every dynamics sees the same input.
        problem = renewal_problem(
            population,
            self.solver.mesh,
            grid.dt,
            grid_increments(path, grid, dtype),
            block,
            recorded,
        )
        between_ends = self.blocks_between_ends(grid, block)
        if problem.schedule.num_levels == 1:
            between_ends = min(between_ends, max(1, memory // block))
        options = self.options
        # The scheme's own derivative, unless another one is asked for.
        ours = options.adjoint is None and type(self.solver) is AgeShift
        if ours and options.saveat is None and reverse.is_reversible(problem):
            num_blocks = between_ends * -(-len(problem.path) // between_ends)
            problem = problem.with_blocks(num_blocks)
            solve = functools.partial(_solve_with_ends, self, between_ends)
            decoded, reached_end = reverse.solved(
                problem, solve, self.neurons_at_once(population.neuron, grid)
            )
            kept, saved = (decoded, None), None
        else:
            kept, saved, reached_end = _solve(self, problem, _READOUT)
        decoded, traces = jax.tree.map(lambda x: in_time(x, grid.num_steps), kept)
        recording = None if recorded is None else Recording(recorded, *traces)
        if saved is not None:
            saved = (_no_later(saved[0], grid.duration), saved[1])
        return layer_output(decoded, recording, saved, reached_end)


def _solve(
    scheme: GridScheme, problem: RenewalProblem, own: PyTree[diffrax.SubSaveAt]
) -> Solution:
    num_blocks, block = problem.path.shape[:2]
    times = np.arange(num_blocks + 1) * block * problem.dt
    controller = GridSteps(jnp.asarray(times, problem.population.bias.dtype))
    # The states at the beginning of all blocks, and those of the steps of one block: some sqrt(steps) of each.
    checkpoints = num_blocks if scheme.options.saveat is None else None
    return diffeqsolve(
        RenewalTerm(),
        scheme.solver,
        scheme.options,
        controller,
        (controller.times[0], controller.end),
        None,
        initial_state(problem),
        problem,
        own=own,
        density_of=_density_of,
        adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints),
        max_steps=num_blocks,
    )


def _solve_with_ends(
    scheme: GridScheme, every: int, problem: RenewalProblem, with_ends: bool
) -> tuple[Decoded, PyTree, Bool[Array, ""]]:
    """With the states between `every` so many blocks, if asked for."""
    ends = diffrax.SubSaveAt(t0=True, steps=every, fn=reverse.ends_of)
    own = _READOUT, (ends if with_ends else None)
    ((decoded, _), ends), _, reached_end = _solve(scheme, problem, own)
    return decoded, ends, reached_end


def _readout(
    t: Scalar, y: GridState, args: RenewalProblem
) -> tuple[
    Decoded,
    tuple[Float[Array, "block recorded"], Float[Array, "block recorded"]] | None,
]:
    """All that is kept of a block: the decoded activity, and the recorded neurons."""
    output = y.output
    decoded = args.population.decode(output.activity)
    if args.recorded is None:
        return decoded, None
    return decoded, (output.acted, output.activity[:, args.recorded])


_READOUT = diffrax.SubSaveAt(steps=True, fn=_readout)


def _density_of(
    y: GridState | RefractoryDensity, args: RenewalProblem
) -> RefractoryDensity:
    """Of the state after a step; between steps the solver interpolates densities already."""
    return y if isinstance(y, RefractoryDensity) else refractory_density(y, args)


def _no_later(times: PyTree, end: float) -> PyTree:
    return jax.tree.map(lambda t: jnp.minimum(t, end), times)
