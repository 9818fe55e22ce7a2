"""The conventional rate: a static function of the potential."""

import abc
import functools
import math
from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._drive import grid_increments
from ratelike._dynamics._base import AbstractDynamics, LayerOutput
from ratelike._dynamics._blocks import GROUP, run_in_blocks
from ratelike._dynamics._interpolation import interpolate, nodes
from ratelike._dynamics._part_size import part_size
from ratelike._grid import TimeGrid
from ratelike._network import AbstractLayer, Layer
from ratelike._neuron import AbstractNeuron, Mixture, check_dead_time, is_homogeneous
from ratelike._renewal import num_ages, stationary_rate

# Steps that share one interpolation of g.
BLOCK = 16


class AbstractGain(eqx.Module):
    """How g(h) is evaluated for a block of potentials."""

    @abc.abstractmethod
    def __call__(
        self,
        neuron: AbstractNeuron,
        potential: Float[Array, "block neurons"],
        dt: float,
    ) -> Float[Array, "block neurons"]:
        """g(h) in hertz."""


class DirectGain(AbstractGain):
    """`stationary_rate` at every potential: the definition, at the cost of one sum over ages each."""

    def __call__(
        self,
        neuron: AbstractNeuron,
        potential: Float[Array, "block neurons"],
        dt: float,
    ) -> Float[Array, "block neurons"]:
        return stationary_rate(neuron, potential, dt)


class ChebyshevGain(AbstractGain):
    r"""log g by Chebyshev interpolation over the potentials of the block.

    log g is interpolated at `num_nodes` Chebyshev nodes between the smallest and the largest potential. Where g is
    analytic the error falls geometrically with `num_nodes`: for the default neuron and 64 nodes it is 2e-14 over
    potentials that span 8 escape widths, and 6e-7 over 25. Values and gradients with respect to potentials and neuron
    parameters are interpolated alike. Where an escape rate has corners or reaches zero, g is not analytic and
    convergence is slow: take `DirectGain()`. A memoryless neuron, or a population whose parameters differ from neuron
    to neuron (which shares no g), is evaluated directly; a `Mixture` type by type.

    Raises `ValueError` unless `num_nodes` is an even number >= 2.
    """

    num_nodes: int = eqx.field(static=True)

    def __init__(self, num_nodes: int = 64):
        self.num_nodes = validation.count(
            "ChebyshevGain.num_nodes", num_nodes, at_least=2
        )
        if self.num_nodes % 2:
            raise ValueError(f"ChebyshevGain.num_nodes must be even, got {num_nodes}")

    def __call__(
        self,
        neuron: AbstractNeuron,
        potential: Float[Array, "block neurons"],
        dt: float,
    ) -> Float[Array, "block neurons"]:
        if isinstance(neuron, Mixture):
            # Neurons of one type share their g, whatever the others do.
            return neuron.select([self(each, potential, dt) for each in neuron.neurons])
        if num_ages(neuron, dt) == 1 or not is_homogeneous(neuron):
            return stationary_rate(neuron, potential, dt)
        # The nodes are a device of the interpolation: what they are does not matter, nor do their gradients.
        # Step with step first: of all at once XLA would make a kernel for each of the block's steps.
        steps = list(jax.lax.stop_gradient(potential))
        lowest = jnp.min(functools.reduce(jnp.minimum, steps))
        highest = jnp.max(functools.reduce(jnp.maximum, steps))
        centre, reach = (highest + lowest) / 2, (highest - lowest) / 2
        reach = jnp.maximum(reach, 1e-3 * (1.0 + jnp.abs(centre)))
        points = jnp.asarray(nodes(self.num_nodes), dtype=potential.dtype)
        rates = stationary_rate(neuron, centre + reach * points, dt)
        values = jnp.log(jnp.maximum(rates, jnp.finfo(rates.dtype).tiny))
        logarithm = interpolate(values, (potential - centre) / reach)
        # No neuron fires more often than in every step, whatever an interpolation over too wide a range says.
        return jnp.exp(jnp.minimum(logarithm, -math.log(dt)))


class ConventionalRate(AbstractDynamics):
    r"""r = g(h), with g(h) the stationary rate of the same discrete-time neuron at constant potential h.

    This is what a rate network usually is, and it is *not* the limit of the spiking network. `gain` says how g is
    evaluated: `ChebyshevGain()`, or `DirectGain()` for its definition at every potential.

    *Neuronal Dynamics*, chapter 15 (rate models and their limits).
    """

    gain: AbstractGain
    needs_key: ClassVar[bool] = False

    def __init__(self, gain: AbstractGain | None = None):
        self.gain = ChebyshevGain() if gain is None else gain
        validation.instance("ConventionalRate.gain", self.gain, AbstractGain)

    def neurons_at_once(self, neuron: AbstractNeuron, grid: TimeGrid) -> int:
        return part_size(BLOCK, 2 * GROUP)

    def check(self, name: str, layer: AbstractLayer, grid: TimeGrid) -> None:
        check_dead_time(f"{name}.neuron", layer.neuron, grid.dt)

    def __call__(
        self,
        layer: Layer,
        path: diffrax.AbstractPath,
        grid: TimeGrid,
        *,
        tile_keys: Array | None = None,
        recorded: Integer[Array, " recorded"] | None = None,
    ) -> LayerOutput:
        def advance(state, ends, potentials, index):
            rate = self.gain(layer.neuron, jnp.stack(potentials), grid.dt)
            return state, rate * grid.dt

        increments = grid_increments(path, grid, layer.encoder.dtype)
        return run_in_blocks(layer, increments, grid, BLOCK, advance, None, recorded)
