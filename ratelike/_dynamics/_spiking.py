"""Neurons that fire."""

from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree

from ratelike import _validation as validation
from ratelike._drive import GridPath, grid_increments
from ratelike._dynamics._base import AbstractDynamics, LayerOutput
from ratelike._dynamics._blocks import run_in_blocks
from ratelike._estimator._base import AbstractEstimator
from ratelike._estimator._refuse import Refuse
from ratelike._grid import TimeGrid
from ratelike._network import Layer
from ratelike._neuron import AbstractNeuron, check_dead_time, dead_steps
from ratelike._random import TILE, per_neuron, standard_exponential, tile_keys
from ratelike._renewal import hazard, num_ages

# Steps that share one random number are unrolled; more of them compile longer and gain nothing.
LONGEST_BLOCK = 8


class Spiking(AbstractDynamics):
    r"""Escape-noise spikes: neuron i fires in step n with probability 1 - exp(-dt rho_i[n]).

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

    def __init__(self, estimator: AbstractEstimator | None = None):
        self.estimator = Refuse() if estimator is None else estimator
        validation.instance("Spiking.estimator", self.estimator, AbstractEstimator)

    def check(self, name: str, neuron: AbstractNeuron, grid: TimeGrid) -> None:
        check_dead_time(name, neuron, grid.dt)

    def __call__(
        self,
        layer: Layer,
        path: diffrax.AbstractPath,
        grid: TimeGrid,
        *,
        key: Array | None,
        first_tile: int | Integer[Array, ""] = 0,
        recorded: Integer[Array, " recorded"] | None = None,
    ) -> LayerOutput:
        assert key is not None

        def sample(layer, increments, recorded):
            path = GridPath(increments, grid)
            return self._sample(layer, path, grid, key, first_tile, recorded)

        increments = grid_increments(path, grid, layer.encoder.dtype)
        return self.estimator(sample, layer, increments, grid, recorded)

    def _sample(
        self,
        layer: Layer,
        path: diffrax.AbstractPath,
        grid: TimeGrid,
        key: Array,
        first_tile: int | Integer[Array, ""],
        recorded: Integer[Array, " recorded"] | None,
    ) -> LayerOutput:
        dtype = layer.encoder.dtype
        keys = tile_keys(key, layer.num_neurons, first_tile)
        oldest = num_ages(layer.neuron, grid.dt) - 1

        def draw(index):
            def one_tile(tile_key):
                block_key = jax.random.fold_in(tile_key, index)
                return standard_exponential(block_key, (TILE,), dtype)

            return per_neuron(one_tile, keys, layer.num_neurons)

        def advance(neurons, potentials, index):
            endurance = draw(index)
            spikes = []
            for potential in potentials:
                neurons, endurance, spike = _step(
                    neurons, endurance, potential, layer, grid.dt, oldest
                )
                spikes.append(spike)
            return neurons, jnp.stack(spikes)

        never_fired = _Neurons(
            age=jnp.full_like(layer.bias, oldest), mark=layer.neuron.mark(layer.bias)
        )
        block = min(dead_steps(layer.neuron, grid.dt) + 1, LONGEST_BLOCK)
        increments = grid_increments(path, grid, dtype)
        return run_in_blocks(
            layer, increments, grid, block, advance, never_fired, recorded
        )


class _Neurons(eqx.Module):
    age: Float[Array, " neurons"]  # in steps
    mark: PyTree[Float[Array, " neurons"]]


def _step(
    neurons: _Neurons,
    endurance: Float[Array, " neurons"],
    potential: Float[Array, " neurons"],
    layer: Layer,
    dt: float,
    oldest: int,
) -> tuple[_Neurons, Float[Array, " neurons"], Float[Array, " neurons"]]:
    """`endurance` is what is left of each neuron's exponential variate; a neuron fires when it is used up."""
    spent = dt * hazard(layer.neuron, potential, neurons.age * dt, neurons.mark)
    endurance = endurance - spent
    spike = _fire(endurance, spent)
    fired = spike > 0.0
    age = jnp.where(fired, 0.0, jnp.minimum(neurons.age + 1.0, oldest))
    mark = jax.tree.map(
        lambda new, old: jnp.where(fired, new, old),
        layer.neuron.mark(potential),
        neurons.mark,
    )
    return _Neurons(age, mark), endurance, spike


@jax.custom_jvp
def _fire(
    endurance: Float[Array, " neurons"], spent: Float[Array, " neurons"]
) -> Float[Array, " neurons"]:
    """1 where a neuron fires, else 0. Within its dead time a neuron spends nothing and does not fire again."""
    return ((endurance < 0.0) & (spent > 0.0)).astype(endurance.dtype)


@_fire.defjvp
def _refuse(primals, tangents):
    raise ValueError(
        "Spiking() cannot be differentiated: sampled spikes are piecewise constant in the parameters, so a derivative "
        "through them would be wrong without saying so. Differentiate GeneralisedRate() instead, the expected activity "
        "of the same neurons, or stop the gradient with jax.lax.stop_gradient."
    )
