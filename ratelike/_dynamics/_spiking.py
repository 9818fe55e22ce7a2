"""Neurons that fire."""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._blocks import Rows, run_in_blocks
from ratelike._dynamics._groups import STEPS_OF_A_GROUP, run_in_groups
from ratelike._dynamics._spike_kernel import spiking_group
from ratelike._estimator._base import AbstractEstimator
from ratelike._estimator._refuse import Refuse
from ratelike._network import AbstractLayer
from ratelike._neuron import (
    AbstractNeuronModel,
    check_can_fire,
    check_dead_time,
    dead_steps,
)
from ratelike._neuron._ages import oldest_age
from ratelike._neuron._hazards import successive_hazards
from ratelike._numerics import _platform as platform
from ratelike._numerics._tile_random import per_neuron, standard_exponential
from ratelike._population._chunk_size import chunk_size
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree

# Steps that share one random number are unrolled; more of them compile longer and gain nothing.
LONGEST_BLOCK = 8


class Spiking(AbstractDynamics):
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


def _sample(
    population: Population,
    increments: Float[Array, "time *tiles latents"],
    grid: TimeGrid,
    tile_keys: Array,
    recorded: Integer[Array, " recorded"] | None,
    all_spike: bool,
) -> LayerOutput:
    dtype, neuron = population.bias.dtype, population.neuron
    oldest = oldest_age(neuron, grid.dt)

    def draw(index):
        def one_tile(tile_key):
            return standard_exponential(tile_key, index, dtype)

        return per_neuron(one_tile, tile_keys, population.num_neurons)

    def one_block(neurons, draws, ends, potentials, neuron):
        return _advance(neurons, draws, ends, potentials, neuron, grid.dt, oldest)

    def advance(neurons, ends, potentials, index):
        neurons, spikes = one_block(neurons, draw(index), ends, potentials, neuron)
        return neurons, jnp.stack(spikes)

    never_fired = _Neurons(
        age=jnp.full_like(population.bias, oldest), mark=neuron.mark(population.bias)
    )
    block = min(dead_steps(neuron, grid.dt) + 1, LONGEST_BLOCK)
    if platform.has_gpu() and population.recurrence is None:
        group = spiking_group(
            population,
            tile_keys,
            grid.dt,
            block,
            never_fired,
            one_block,
            keeps_potential=recorded is not None,
        )
        if group is not None:
            state = (jnp.zeros_like(population.bias), never_fired)
            return run_in_groups(
                population, increments, grid, *group, state, recorded, all_spike
            )
    return run_in_blocks(
        population, increments, grid, block, advance, never_fired, recorded, all_spike
    )


class _Neurons(eqx.Module):
    age: Float[Array, " neurons"]  # index: steps since the one after the last spike
    mark: PyTree[Float[Array, " neurons"]]


def _advance(
    neurons: _Neurons,
    spike_threshold: Float[Array, " neurons"],
    ends: Rows,
    potentials: Rows,
    neuron: AbstractNeuronModel,
    dt: float,
    oldest: int,
) -> tuple[_Neurons, Rows]:
    """A neuron fires in the step in which its summed hazard exceeds its `spike_threshold`, an exponential variate.

    It fires at most once in a block, so that its age and mark follow from the block's beginning.
    """
    block, marks = len(potentials), [neurons.mark]
    while len(marks) < block:
        marks.append(neuron.faded(marks[-1], dt))
    hazards = successive_hazards(neuron, ends, potentials, neurons.age, marks, dt)
    summed, spikes = jnp.zeros_like(spike_threshold), []
    age_after, mark_after = jnp.minimum(neurons.age + block, oldest), neurons.mark
    steps = zip(potentials, hazards, marks, strict=True)
    for step, (potential, rho, mark) in enumerate(steps):
        before = summed
        summed = before + dt * rho
        fired = (summed > spike_threshold) & (before <= spike_threshold)
        age_after = jnp.where(fired, block - 1.0 - step, age_after)
        mark_after = jax.tree.map(
            lambda new, old, fired=fired: jnp.where(fired, new, old),
            neuron.mark_after_spike(potential, mark, dt),
            neuron.faded(mark_after, dt),
        )
        spikes.append(fired.astype(spike_threshold.dtype))
    # A sum that is NaN exceeds no threshold, without a word: the age keeps it, until the end of the simulation.
    age_after = jnp.where(jnp.isnan(summed), summed, age_after)
    return _Neurons(age_after, mark_after), spikes
