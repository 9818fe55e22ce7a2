"""The generalised rate: the expected activity of each neuron, given its own input."""

import functools
import math
from types import NoneType
from typing import Any, ClassVar, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer, PyTree

from ratelike import _validation as validation
from ratelike._density import _reverse as reverse
from ratelike._density._age_shift import AgeShift
from ratelike._density._grid_steps import GridSteps
from ratelike._density._method_of_lines import (
    LinesProblem,
    initial_density,
    lines_problem,
    method_of_lines,
)
from ratelike._density._renewal_problem import (
    RenewalProblem,
    initial_cohorts,
    renewal_problem,
)
from ratelike._density._renewal_term import RenewalTerm
from ratelike._density._state import Cohorts, RefractoryDensity
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._saved_times import check_saved_times
from ratelike._network import AbstractLayer
from ratelike._neuron import (
    AbstractNeuron,
    check_dead_time,
    chosen_neurons,
    potential_in_step,
)
from ratelike._neuron._history import expected_neuron
from ratelike._neuron._renewal import oldest_age
from ratelike._population._chunk_size import part_size
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Population
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid


class GeneralisedRate(AbstractDynamics):
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
    `adjoint`, `progress_meter`, `max_steps`
        Handed to `diffrax.diffeqsolve`. The default adjoint serves reverse mode: where ages are exact and the hazard is
        a function of the potential times one of age, it solves the adjoint of the renewal equation backwards in time,
        elsewhere it is `diffrax.RecursiveCheckpointAdjoint`. Forward mode needs `diffrax.ForwardMode()`.
    `saveat`
        A `diffrax.SaveAt` of what else to save; its `fn(t, density, args)` sees the `RefractoryDensity`. The result
        is in `trajectory.saved[layer]`, as a pair (ts, ys). By default no density over time is stored.

    Schmutz, Brea and Gerstner, Phys. Rev. Lett. 134, 018401 (2025), for the memoryless case; *Neuronal Dynamics*,
    chapter 14, for the density.

    Raises `ValueError` for `age_step` <= 0, for an age step or a step-size controller beside `AgeShift` (which knows
    one step), for `SaveAt(dense=True)` or `SaveAt(steps=True)` with adaptive steps, and in `simulate` for a dead time
    off the grid of ages and for times to save that lie outside the grid.
    """

    solver: diffrax.AbstractSolver
    stepsize_controller: diffrax.AbstractStepSizeController | None
    adjoint: diffrax.AbstractAdjoint | None
    progress_meter: diffrax.AbstractProgressMeter
    saveat: diffrax.SaveAt | None
    age_step: float | None = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    needs_key: ClassVar[bool] = False

    def __init__(
        self,
        solver: diffrax.AbstractSolver | None = None,
        stepsize_controller: diffrax.AbstractStepSizeController | None = None,
        adjoint: diffrax.AbstractAdjoint | None = None,
        progress_meter: diffrax.AbstractProgressMeter | None = None,
        saveat: diffrax.SaveAt | None = None,
        age_step: float | None = None,
        max_steps: int = 1_000_000,
    ):
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
        if _on_the_grid(self.solver):
            _refuse("age_step", age_step)
            _refuse("stepsize_controller", stepsize_controller)
        if saveat is not None and saveat.dense:
            raise ValueError(
                "GeneralisedRate.saveat must not be dense, which stores the density at every step; "
                "name the times with SaveAt(ts=...)"
            )
        adaptive = not isinstance(
            stepsize_controller, (NoneType, diffrax.ConstantStepSize)
        )
        if adaptive and _saves_steps(saveat):
            raise ValueError(
                f"GeneralisedRate.saveat must not have steps=True with adaptive steps, got {validation.shown(saveat)}; "
                "name the times with SaveAt(ts=...)"
            )

    def neurons_at_once(self, neuron: AbstractNeuron, grid: TimeGrid) -> int | None:
        whole = self.saveat is not None or not isinstance(
            self.progress_meter, diffrax.NoProgressMeter
        )
        if whole or not _on_the_grid(self.solver):
            return None
        mesh = cast(AgeShift, self.solver).mesh
        schedule = mesh.schedule_of(neuron, grid.dt)
        arrays = 1 if schedule.num_levels == 1 else 2  # shares, and parts of elders
        return part_size(arrays * schedule.num_bins, schedule.dead)

    def block(self, grid: TimeGrid, memory: int) -> int:
        """Steps of the grid in one step of the solver, or one where the caller looks at each.

        About twice the root of all: of several parts the states between blocks are kept, of one those within a block.
        """
        if self.saveat is not None:
            return 1
        root = math.isqrt(grid.num_steps - 1) + 1
        # The adjoint wants blocks no longer than the memory.
        block = min(2 * root, max(root, memory))
        num_blocks = -(-grid.num_steps // block)
        return -(-grid.num_steps // num_blocks)

    def check(self, name: str, layer: AbstractLayer, grid: TimeGrid) -> None:
        neuron = layer.neuron
        check_dead_time(f"{name}.neuron", neuron, self._age_step(grid))
        check_saved_times("GeneralisedRate.saveat", self.saveat, grid)
        if _on_the_grid(self.solver):
            return
        if neuron.mark(jnp.zeros(())) is not None:
            raise ValueError(
                f"{name}.neuron must leave no mark at a spike for the method of lines, got {type(neuron).__name__}; "
                "use AgeShift()"
            )
        if layer.feedback is not None:
            raise ValueError(
                f"{name}.feedback must be None for the method of lines, got {validation.shown(layer.feedback)}; use AgeShift()"
            )

    def _age_step(self, grid: TimeGrid) -> float:
        if self.age_step is not None:
            return self.age_step
        return grid.dt if _on_the_grid(self.solver) else 2.0 * grid.dt

    def __call__(
        self,
        population: Population,
        path: diffrax.AbstractPath,
        grid: TimeGrid,
        *,
        tile_keys: Array | None = None,
        recorded: Integer[Array, " recorded"] | None = None,
    ) -> LayerOutput:
        layer = eqx.tree_at(
            lambda p: p.neuron, population, expected_neuron(population.neuron)
        )
        solve = _on_grid if _on_the_grid(self.solver) else _by_lines
        return solve(self, layer, path, grid, recorded)

    def _solve(self, terms, controller, times, dt0, initial, args, ours, max_steps):
        """What diffrax saved for us and for the caller, and whether it reached the end."""
        adjoint = self.adjoint
        if adjoint is None:
            # The states at the beginning of all blocks, and those of the steps of one block: some sqrt(steps) of each.
            few = _on_the_grid(self.solver) and self.saveat is None
            adjoint = diffrax.RecursiveCheckpointAdjoint(max_steps if few else None)
        theirs = None if self.saveat is None else _seeing_densities(self.saveat.subs)
        solution = diffrax.diffeqsolve(
            terms,
            self.solver,
            times[0],
            times[1],
            dt0,
            initial,
            args=args,
            saveat=diffrax.SaveAt(subs=(ours, theirs)),
            stepsize_controller=controller,
            adjoint=adjoint,
            max_steps=max_steps,
            progress_meter=self.progress_meter,
            throw=False,
        )
        saved_times, saved = cast(Any, solution.ts), cast(Any, solution.ys)
        return (
            saved[0],
            None if theirs is None else (saved_times[1], saved[1]),
            solution.result == diffrax.RESULTS.successful,
        )


def _on_grid(
    dynamics: GeneralisedRate,
    layer: Population,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    recorded: Integer[Array, " recorded"] | None,
) -> LayerOutput:
    """`AgeShift`, in blocks of steps."""
    dtype = layer.bias.dtype
    # Another path is cut into the grid's increments, so that every dynamics sees the same input.
    problem = renewal_problem(
        layer,
        cast(AgeShift, dynamics.solver).mesh,
        grid.dt,
        grid_increments(path, grid, dtype),
        dynamics.block(grid, oldest_age(layer.neuron, grid.dt)),
        recorded,
    )
    # The solver's own derivative, unless another one is asked for.
    ours = dynamics.adjoint is None and type(dynamics.solver) is AgeShift
    if ours and dynamics.saveat is None and reverse.is_reversible(problem):
        solve = functools.partial(_solve_with_ends, dynamics)
        decoded, reached = reverse.solved(problem, solve)
        kept, theirs = (decoded, None), None
    else:
        kept, theirs, reached = _solve_blocks(dynamics, problem, _READOUT)
    decoded, traces = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:])[: grid.num_steps], kept
    )
    recording = None if recorded is None else Recording(recorded, *traces)
    if theirs is not None:
        theirs = (_no_later(theirs[0], grid.duration), theirs[1])
    return _output(decoded, recording, theirs, reached)


def _solve_blocks(dynamics: GeneralisedRate, problem: RenewalProblem, subs: PyTree):
    num_blocks, block = problem.path.shape[:2]
    times = np.arange(num_blocks + 1) * block * problem.dt
    controller = GridSteps(jnp.asarray(times, problem.layer.bias.dtype))
    return dynamics._solve(
        RenewalTerm(),
        controller,
        (controller.times[0], controller.end),
        None,
        initial_cohorts(problem),
        problem,
        subs,
        num_blocks,
    )


def _solve_with_ends(
    dynamics: GeneralisedRate, problem: RenewalProblem, with_ends: bool
):
    ends = diffrax.SubSaveAt(t0=True, steps=True, fn=reverse.ends_of)
    subs = _READOUT, (ends if with_ends else None)
    ((decoded, _), ends), _, reached = _solve_blocks(dynamics, problem, subs)
    return decoded, ends, reached


def _readout(t, y: Cohorts, args: RenewalProblem):
    """All that is kept of a density: the decoded activity, and the recorded neurons."""
    decoded = args.layer.decode(y.activity)
    if args.recorded is None:
        return decoded, None
    return decoded, (y.acted, y.activity[:, args.recorded])


_READOUT = diffrax.SubSaveAt(steps=True, fn=_readout)


def _by_lines(
    dynamics: GeneralisedRate,
    layer: Population,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    recorded: Integer[Array, " recorded"] | None,
) -> LayerOutput:
    """The method of lines under any other solver."""
    times = jnp.asarray(grid.times, dtype=layer.bias.dtype)
    controller, max_steps = dynamics.stepsize_controller, dynamics.max_steps
    if controller is None:
        controller = diffrax.ConstantStepSize()
        # What the caller saves at every step takes memory for `max_steps` of them; rounding may add one.
        max_steps = min(max_steps, grid.num_steps + 1)
    problem = lines_problem(layer, dynamics._age_step(grid), recorded)
    kept, theirs, reached = dynamics._solve(
        method_of_lines(path),
        controller,
        (times[0], times[-1]),
        grid.dt,
        initial_density(problem),
        problem,
        diffrax.SubSaveAt(ts=times[1:], fn=_totals),
        max_steps,
    )
    # Activity is counted from the beginning: differences between the ends of steps.
    (decoded, (potential, spikes)) = kept
    decoded, spikes = jax.tree.map(
        lambda total: jnp.diff(total, axis=0, prepend=jnp.zeros_like(total[:1])),
        (decoded, spikes),
    )
    recording = None
    if recorded is not None:
        # The solver saves the end of each step.
        ends = jnp.concatenate([layer.bias[recorded][None], potential])
        neuron = chosen_neurons(layer.neuron, recorded)
        acted = potential_in_step(neuron, ends[:-1], ends[1:])
        recording = Recording(recorded, acted, spikes)
    return _output(decoded, recording, theirs, reached)


def _totals(t, y: RefractoryDensity, args: LinesProblem):
    recorded = jnp.zeros(0, jnp.int32) if args.recorded is None else args.recorded
    decoded = jax.tree.map(lambda x: x[0], args.layer.decode(y.activity[None]))
    return decoded, (y.potential[recorded], y.activity[recorded])


def _output(decoded, recording, saved, reached) -> LayerOutput:
    succeeded = reached & jnp.all(jnp.isfinite(decoded.columns))
    return LayerOutput(decoded, recording, saved, succeeded)


def _no_later(times: PyTree, end: float) -> PyTree:
    return jax.tree.map(lambda t: jnp.minimum(t, end), times)


def _is_sub(node: object) -> bool:
    return isinstance(node, diffrax.SubSaveAt)


def _seeing_densities(subs: PyTree) -> PyTree:
    """What the caller saves is a function of the `RefractoryDensity`, whatever the solver's own state."""

    def wrap(sub):
        def fn(t, y, args):
            if isinstance(y, Cohorts):
                y = y.density(args)
            elif y.age is None:
                y = RefractoryDensity(
                    y.potential, y.age_distribution, y.mark, y.activity, args.ages[:, 0]
                )
            return sub.fn(t, y, args)

        return eqx.tree_at(lambda s: s.fn, sub, fn)

    return jax.tree.map(wrap, subs, is_leaf=_is_sub)


def _saves_steps(saveat: diffrax.SaveAt | None) -> bool:
    subs = [] if saveat is None else jax.tree.leaves(saveat.subs, is_leaf=_is_sub)
    return any(sub.steps for sub in subs)


def _on_the_grid(solver: diffrax.AbstractSolver) -> bool:
    return solver.term_structure is RenewalTerm


def _refuse(name: str, value: object) -> None:
    if value is not None:
        raise ValueError(
            f"GeneralisedRate.{name} must be None with AgeShift, which steps on the simulation's grid, got {validation.shown(value)}"
        )
