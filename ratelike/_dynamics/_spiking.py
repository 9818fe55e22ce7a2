"""Neurons that fire."""

import dataclasses
from typing import Any, ClassVar

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractContinuingDynamics
from ratelike._dynamics._blocks import at_rest, run_in_blocks
from ratelike._dynamics._draws import (
    LONGEST_BLOCK,
    advance,
    draws_of,
    never_fired,
    steps_of_a_draw,
)
from ratelike._dynamics._groups import STEPS_OF_A_GROUP, run_in_groups
from ratelike._dynamics._potential_state import check_kind
from ratelike._dynamics._spike_kernel import spiking_group
from ratelike._dynamics._spiking_piece import SpikingState, sample_piece
from ratelike._estimator._base import AbstractEstimator
from ratelike._estimator._refuse import Refuse, without_derivative
from ratelike._network import AbstractLayer
from ratelike._neuron import (
    AbstractNeuronModel,
    check_can_fire,
    check_dead_time,
    check_renewal,
)
from ratelike._numerics import _platform as platform
from ratelike._population._chunk_size import chunk_size
from ratelike._population._layer_state import AbstractLayerState, SettledState
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid


class Spiking(AbstractContinuingDynamics):
    r"""Escape-noise spikes: neuron i fires in step n with probability 1 - exp(-dt rho_i[n]).

    rho is that of the potential that acts in the step (the escape rate's mean over both ends of it) and of the age, dt in
    the step after a spike. The first spike after one may come `dead_time` later, and the largest rate is 1/`dead_time`.

    The draw is one exponential variate per neuron and *block* of steps, no block longer than the shortest dead time:
    the neuron fires in the first step in which its hazard, summed since the beginning of the block, exceeds the
    variate. Given that it has not fired before, that is exactly a Bernoulli draw in each step; a new variate in each
    block does not change the law, since the exponential distribution has no memory; and after a spike the dead time
    lasts beyond the block. (*Neuronal Dynamics*, section 9.1.)

    Needs `key` in `simulate`. The same key gives the same spikes, bit for bit, alone or in a batch; the first n
    neurons of a larger layer with the same input draw the same numbers.

    `estimator` says what the derivative of a sampled spike is. By default there is none, and differentiating raises
    `ValueError`; `StraightThrough()` is biased, `ScoreFunction()` unbiased, in `sampled_loss`. Spikes do not depend
    on it.
    """

    estimator: AbstractEstimator
    needs_key: ClassVar[bool] = True

    def __init__(self, estimator: AbstractEstimator | None = None) -> None:
        self.estimator = Refuse() if estimator is None else estimator
        validation.instance("Spiking.estimator", self.estimator, AbstractEstimator)

    def neurons_at_once(
        self, neuron: AbstractNeuronModel, grid: TimeGrid
    ) -> int | None:
        if self.estimator.keeps_spikes:
            return None
        return chunk_size(2 * LONGEST_BLOCK, 2 * STEPS_OF_A_GROUP)

    def check(self, name: str, layer: AbstractLayer, grid: TimeGrid) -> None:
        check_can_fire(f"{name}.neuron", layer.neuron)
        check_dead_time(f"{name}.neuron", layer.neuron, grid.dt)
        if layer.feedback is not None and not self.estimator.allows_feedback:
            raise ValueError(
                f"{name}.feedback must be None for {type(self.estimator).__name__}, got {validation.shown(layer.feedback)}; "
                "use ScoreFunction(), or GeneralisedRate()"
            )

    def __call__(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        *,
        tile_keys: Array | None,
        recorded: Integer[Array, " recorded"] | None = None,
        all_spike: bool = False,
    ) -> LayerOutput:
        """With `all_spike` the output has the spikes of all neurons, in bits."""
        assert tile_keys is not None

        def sample(population, increments, recorded):
            return _sample(population, increments, grid, tile_keys, recorded, all_spike)

        increments = grid_increments(path, grid, population.bias.dtype)
        return self.estimator(sample, population, increments, grid, recorded)

    def check_state(
        self,
        name: str,
        state: AbstractLayerState | None,
        layer: AbstractLayer,
        grid: TimeGrid,
    ) -> None:
        check_kind(name, state, SpikingState, "Spiking()")
        if not isinstance(self.estimator, Refuse):
            raise ValueError(
                f"keep_final and initial must not be used with {type(self.estimator).__name__}, whose derivative knows "
                f"whole runs only; got them for {name}"
            )
        if isinstance(state, SettledState):
            check_renewal(f"{name}.neuron", layer.neuron, "a drawn state")

    def run_piece(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        *,
        tile_keys: Array | None,
        recorded: Integer[Array, " recorded"] | None = None,
        initial: AbstractLayerState | None,
        all_spike: bool = False,
    ) -> LayerOutput:
        assert tile_keys is not None
        increments = grid_increments(path, grid, population.bias.dtype)
        population, increments, initial = without_derivative(
            (population, increments, initial)
        )
        return sample_piece(
            population, increments, initial, grid, tile_keys, recorded, all_spike
        )


def _sample(
    population: Population,
    increments: Float[Array, "time *tiles latents"],
    grid: TimeGrid,
    tile_keys: Array,
    recorded: Integer[Array, " recorded"] | None,
    all_spike: bool,
) -> LayerOutput:
    neuron, dt = population.neuron, grid.dt
    if population.recurrence is not None:
        # As a piece, so that pieces have its bits: what is sent round a loop is rounded alike in one program only.
        output = sample_piece(
            population, increments, None, grid, tile_keys, recorded, all_spike
        )
        return dataclasses.replace(output, final=None)
    draw = draws_of(population, tile_keys)

    def one_block(neurons, draws, ends, potentials, neuron):
        neurons, _, spikes = advance(neurons, draws, ends, potentials, neuron, dt)
        return neurons, spikes

    def advance_block(neurons, ends, potentials, index, part):
        neurons, spikes = one_block(neurons, draw(index), ends, potentials, neuron)
        return neurons, jnp.stack(spikes)

    start = never_fired(population, dt)
    block = steps_of_a_draw(population, dt)
    if platform.has_gpu():
        group = spiking_group(
            population,
            tile_keys,
            dt,
            block,
            start,
            one_block,
            keeps_potential=recorded is not None,
        )
        if group is not None:
            state = (jnp.zeros_like(population.bias), start)
            return run_in_groups(
                population, increments, grid, *group, state, recorded, all_spike
            )
    carried = at_rest(population, dt, start)
    return run_in_blocks(
        population,
        increments,
        grid,
        block,
        advance_block,
        carried,
        recorded,
        all_spike=all_spike,
    )[0]
