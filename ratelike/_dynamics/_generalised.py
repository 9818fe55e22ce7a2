"""The generalised rate: the expected activity of each neuron, given its own input."""

from types import NoneType
from typing import Any, ClassVar, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Integer

from ratelike import _validation as validation
from ratelike._density._age_shift import (
    AgeShift,
    RenewalTerm,
    initial_density,
    renewal_problem,
)
from ratelike._density._grid_steps import GridSteps
from ratelike._density._method_of_lines import method_of_lines
from ratelike._density._state import RefractoryDensity
from ratelike._drive import grid_increments
from ratelike._dynamics._base import AbstractDynamics, LayerOutput, Recording
from ratelike._grid import TimeGrid
from ratelike._network import Layer
from ratelike._neuron import AbstractNeuron, check_dead_time
from ratelike._population import decode, tiled_decoder


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
        Handed to `diffrax.diffeqsolve`. The default adjoint serves reverse mode; forward mode needs
        `diffrax.ForwardMode()`.
    `saveat`
        A `diffrax.SaveAt` of what else to save; its `fn(t, density, args)` sees the `RefractoryDensity`. The result
        is in `trajectory.saved[layer]`, as a pair (ts, ys). By default no density over time is stored.

    Schmutz, Brea and Gerstner, Phys. Rev. Lett. 134, 018401 (2025), for the memoryless case; *Neuronal Dynamics*,
    chapter 14, for the density.

    Raises `ValueError` for `age_step` <= 0, for an age step or a step-size controller beside `AgeShift` (which knows
    one step), for `SaveAt(dense=True)` or `SaveAt(steps=True)` with adaptive steps, and in `simulate` for a dead time
    off the grid of ages.
    """

    solver: diffrax.AbstractSolver
    stepsize_controller: diffrax.AbstractStepSizeController | None
    adjoint: diffrax.AbstractAdjoint
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
        self.stepsize_controller = stepsize_controller
        self.adjoint = (
            diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint
        )
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
                f"GeneralisedRate.saveat must not have steps=True with adaptive steps, got {saveat!r}; "
                "name the times with SaveAt(ts=...)"
            )

    def check(self, name: str, neuron: AbstractNeuron, grid: TimeGrid) -> None:
        check_dead_time(name, neuron, self._age_step(grid))
        if not _on_the_grid(self.solver) and neuron.mark(jnp.zeros(())) is not None:
            raise ValueError(
                f"{name} must leave no mark at a spike for the method of lines, got {type(neuron).__name__}; "
                "use AgeShift()"
            )

    def _age_step(self, grid: TimeGrid) -> float:
        if self.age_step is not None:
            return self.age_step
        return grid.dt if _on_the_grid(self.solver) else 2.0 * grid.dt

    def __call__(
        self,
        layer: Layer,
        path: diffrax.AbstractPath,
        grid: TimeGrid,
        *,
        key: Array | None = None,
        first_tile: int | Integer[Array, ""] = 0,
        recorded: Integer[Array, " recorded"] | None = None,
    ) -> LayerOutput:
        times = jnp.asarray(grid.times, dtype=layer.encoder.dtype)
        if _on_the_grid(self.solver):
            terms, controller = RenewalTerm(), GridSteps(times)
            final, dt0, max_steps = controller.end, None, grid.num_steps
            # Another path is cut into the grid's increments, so that every dynamics sees the same input.
            incoming = grid_increments(path, grid, layer.encoder.dtype)
            ours = diffrax.SubSaveAt(steps=True, fn=_readout)
        else:
            terms, incoming = method_of_lines(path), None
            controller, dt0 = self.stepsize_controller, grid.dt
            final, max_steps = times[-1], self.max_steps
            if controller is None:
                controller = diffrax.ConstantStepSize()
                # What the caller saves at every step takes memory for `max_steps` of them; rounding may add one.
                max_steps = min(max_steps, grid.num_steps + 1)
            ours = diffrax.SubSaveAt(ts=times[1:], fn=_readout)
        theirs = None if self.saveat is None else self.saveat.subs
        problem = renewal_problem(
            layer, self._age_step(grid), incoming, tiled_decoder(layer), recorded
        )
        solution = diffrax.diffeqsolve(
            terms,
            self.solver,
            times[0],
            final,
            dt0,
            initial_density(layer, problem.ages.shape[0]),
            args=problem,
            saveat=diffrax.SaveAt(subs=(ours, theirs)),
            stepsize_controller=controller,
            adjoint=self.adjoint,
            max_steps=max_steps,
            progress_meter=self.progress_meter,
            throw=False,
        )
        saved_times, saved = cast(Any, solution.ts), cast(Any, solution.ys)
        (increments, activity), recorded_traces = saved[0]
        if not _on_the_grid(self.solver):
            increments, activity, recorded_traces = _per_step(
                increments, activity, recorded_traces
            )
        recording = None
        if recorded is not None:
            after, spikes = cast(Any, recorded_traces)
            # The solver saves the end of each step; the potential that acts in a step is that of its beginning.
            potential = jnp.concatenate([layer.bias[recorded][None], after[:-1]])
            recording = Recording(recorded, potential, spikes)
        if theirs is not None:
            within = jax.tree.map(lambda t: jnp.minimum(t, times[-1]), saved_times[1])
            theirs = (within, saved[1])
        succeeded = (solution.result == diffrax.RESULTS.successful) & jnp.all(
            jnp.isfinite(increments)
        )
        return LayerOutput(increments, activity, recording, theirs, succeeded)


def _saves_steps(saveat: diffrax.SaveAt | None) -> bool:
    def is_sub(node):
        return isinstance(node, diffrax.SubSaveAt)

    subs = [] if saveat is None else jax.tree.leaves(saveat.subs, is_leaf=is_sub)
    return any(sub.steps for sub in subs)


def _on_the_grid(solver: diffrax.AbstractSolver) -> bool:
    return solver.term_structure is RenewalTerm


def _readout(t, y: RefractoryDensity, args):
    """All that is kept of a density: the decoded activity, and the recorded neurons."""
    increments, mean = decode(args.decoder, y.activity[None])
    recorded = args.recorded
    if recorded is None:
        return (increments[0], mean[0]), None
    return (increments[0], mean[0]), (y.potential[recorded], y.activity[recorded])


def _per_step(increments, activity, recording):
    """The method of lines counts activity from the beginning: differences between the ends of steps."""

    def difference(total):
        return jnp.diff(total, axis=0, prepend=jnp.zeros_like(total[:1]))

    if recording is not None:
        recording = (recording[0], difference(recording[1]))
    return difference(increments), difference(activity), recording


def _refuse(name: str, value: object) -> None:
    if value is not None:
        raise ValueError(
            f"GeneralisedRate.{name} must be None with AgeShift, which steps on the simulation's grid, got {value!r}"
        )
