"""The method of lines, under any diffrax solver for ordinary differential equations."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._density._method_of_lines import (
    LinesProblem,
    LinesState,
    initial_state,
    lines_problem,
    method_of_lines,
)
from ratelike._density._scheme import (
    AbstractScheme,
    SolveOptions,
    diffeqsolve,
    layer_output,
)
from ratelike._density._state import Scalar
from ratelike._network import AbstractLayer
from ratelike._neuron import AbstractNeuronModel, chosen_neurons
from ratelike._population._layer_state import AbstractLayerState
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Decoded, Population
from ratelike._signal._grid import TimeGrid


class LinesScheme(AbstractScheme):
    """Age bins of a chosen width in continuous time, of first order in the width."""

    solver: diffrax.AbstractSolver
    options: SolveOptions

    def check_options(self) -> None:
        """All options have their use."""

    def check(self, name: str, layer: AbstractLayer) -> None:
        neuron = layer.neuron
        if neuron.mark(jnp.zeros(())) is not None:
            raise ValueError(
                f"{name}.neuron must leave no mark at a spike for the method of lines, got {type(neuron).__name__}; "
                "use AgeShift()"
            )
        if layer.feedback is not None:
            raise ValueError(
                f"{name}.feedback must be None for the method of lines, got {validation.shown(layer.feedback)}; use AgeShift()"
            )

    def check_state(
        self,
        name: str,
        state: AbstractLayerState | None,
        neuron: AbstractNeuronModel,
        dt: float,
    ) -> None:
        raise ValueError(
            f"GeneralisedRate.solver must be AgeShift() for keep_final and initial, got {validation.shown(self.solver)}"
        )

    def solve_piece(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
        initial: AbstractLayerState | None,
    ) -> LayerOutput:
        raise NotImplementedError("see check_state")

    def age_step(self, grid: TimeGrid) -> float:
        age_step = self.options.age_step
        return 2.0 * grid.dt if age_step is None else age_step

    def neurons_at_once(
        self, neuron: AbstractNeuronModel, grid: TimeGrid
    ) -> int | None:
        """A whole layer: adaptive steps must be the same for all of its neurons."""
        return None

    def solve(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
    ) -> LayerOutput:
        times = jnp.asarray(grid.times, dtype=population.bias.dtype)
        controller = self.options.stepsize_controller
        max_steps = self.options.max_steps
        if controller is None:
            controller = diffrax.ConstantStepSize()
            # What the caller saves at every step takes memory for `max_steps` of them; rounding may add one.
            max_steps = min(max_steps, grid.num_steps + 1)
        problem = lines_problem(population, self.age_step(grid), recorded)
        kept, saved, reached_end = diffeqsolve(
            method_of_lines(path),
            self.solver,
            self.options,
            controller,
            (times[0], times[-1]),
            grid.dt,
            initial_state(problem),
            problem,
            own=diffrax.SubSaveAt(ts=times[1:], fn=_totals),
            density_of=lambda y, args: y.refractory_density(args),
            adjoint=diffrax.RecursiveCheckpointAdjoint(),
            max_steps=max_steps,
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
            ends = jnp.concatenate([population.bias[recorded][None], potential])
            neuron = chosen_neurons(population.neuron, recorded)
            acted = neuron.potential_in_step(ends[:-1], ends[1:])
            recording = Recording(recorded, acted, spikes)
        return layer_output(decoded, recording, saved, reached_end)


def _totals(
    t: Scalar, y: LinesState, args: LinesProblem
) -> tuple[
    Decoded,
    tuple[Float[Array, " recorded"], Float[Array, " recorded"]],
]:
    """The decoded activity since t = 0, and potential and activity of the recorded neurons."""
    recorded = jnp.zeros(0, jnp.int32) if args.recorded is None else args.recorded
    decoded = args.population.decode(y.total_activity[None])
    decoded = jax.tree.map(lambda total: total[0], decoded)
    return decoded, (y.potential[recorded], y.total_activity[recorded])
