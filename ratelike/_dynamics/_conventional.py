"""The conventional rate: a static function of the potential."""

import abc
import math
from collections.abc import Callable
from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._blocks import STEPS_CODED_AT_ONCE, run_in_blocks
from ratelike._network import AbstractLayer
from ratelike._neuron import AbstractNeuron, Mixture, check_dead_time, is_homogeneous
from ratelike._neuron._renewal import num_ages, stationary_rate
from ratelike._numerics._batch_cond import any_of_all
from ratelike._numerics._chebyshev import cells_of, interpolated
from ratelike._population._chunk_size import part_size
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid

# Steps whose rates are computed at once.
BLOCK = 16
# No more than so many spikes per step are as good as none.
SILENT = 1e-12
# Saturated is who fires at the largest rate of all, up to this relative difference in float32 and in float64.
FLAT = 4e-6, 1e-13
# Where the ends are looked for: both signs, from about the nearest potential to the farthest, beyond which g is constant.
NEAREST, FARTHEST, LATTICE = 1e-2, 1e6, 1024

Gain = Callable[[Float[Array, "..."]], Float[Array, "..."]]


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
    r"""log g by Chebyshev interpolation on fixed cells of the potential, made once for each layer.

    The cells cover the potentials from where a neuron is silent (10^-12 spikes per step; below, g is constant) to where
    it is saturated (4 * 10^-6 from its largest rate in float32, 10^-13 in float64; above, g is constant), with more of
    them where log g bends. In each it is a polynomial through 6 values of the definition in float32, 12 in float64.
    So g of a neuron depends on its own potential alone, whatever the others of its block have. Values and gradients
    with respect to potentials and neuron parameters are interpolated alike.

    *Error.* Each cell has an estimate, from the decay of its coefficients and from how well it meets its neighbours.
    Where that exceeds 3 * 10^-5 (corners and jumps of an escape rate; thresholds so sharp that refractoriness spans some
    500 escape widths) the definition is evaluated: `DirectGain`'s value, at `DirectGain`'s cost for all potentials of
    the block of which one lies in such a cell. So the relative error of g is below 10^-4 wherever g dt > 10^-10; that is an
    estimate, not a proof, and can fail where g has features that are much narrower than a cell of `num_cells`.
    Measured: 2 * 10^-12 for the default neuron in float64, and rounding (10^-5 at the lowest rates) in float32.
    Errors of slopes are larger: up to 10^-3 of the largest d log g / dh, mostly below 3 * 10^-4.

    A memoryless neuron, or a population whose parameters differ from neuron to neuron (which shares no g), is evaluated
    directly; a `Mixture` type by type. g is taken to grow with the potential, and to be constant beyond +-10^6.

    More of `num_cells` serve sharper thresholds, at the price of making them.

    Raises `ValueError` unless `num_cells` is a whole number >= 4.
    """

    num_cells: int = eqx.field(static=True)

    def __init__(self, num_cells: int = 384):
        self.num_cells = validation.count(
            "ChebyshevGain.num_cells", num_cells, at_least=4
        )

    def __call__(
        self,
        neuron: AbstractNeuron,
        potential: Float[Array, "block neurons"],
        dt: float,
    ) -> Float[Array, "block neurons"]:
        return self.of(neuron, dt, potential.dtype)(potential)

    def of(self, neuron: AbstractNeuron, dt: float, dtype) -> Gain:
        """g as a function of potentials alone, with all computed beforehand that does not depend on these."""
        if isinstance(neuron, Mixture):
            # Neurons of one type share their g, whatever the others do.
            gains = [self.of(each, dt, dtype) for each in neuron.neurons]
            return lambda potential: neuron.select([gain(potential) for gain in gains])

        def direct(potential):
            return stationary_rate(neuron, potential, dt)

        if num_ages(neuron, dt) == 1 or not is_homogeneous(neuron):
            return direct
        return _with_table(direct, dt, dtype, self.num_cells)


def _with_table(direct: Gain, dt: float, dtype, num_cells: int) -> Gain:
    def logarithm(potential):
        rates = direct(potential)
        return jnp.log(jnp.maximum(rates, jnp.finfo(rates.dtype).tiny))

    # Where the cells lie is a device of the interpolation and has no derivative.
    lowest, highest = jax.lax.stop_gradient(_active(direct, dt, dtype))
    cells = jax.lax.stop_gradient(cells_of(logarithm, lowest, highest, num_cells))
    table = interpolated(jax.checkpoint(logarithm), cells)

    def by_table(potential):
        return jnp.exp(jnp.minimum(table(potential), -math.log(dt)))

    def in_part(potential):
        trusted = table.trusts(potential)
        anew = jax.lax.cond(any_of_all(~trusted), direct, jnp.zeros_like, potential)
        return jnp.where(trusted, by_table(potential), anew)

    doubtful = any_of_all(~table.trusted)

    def gain(potential):
        # Reverse mode keeps nothing of what may not be needed.
        ways = jax.checkpoint(in_part), jax.checkpoint(by_table)
        return jax.lax.cond(doubtful, *ways, potential)

    return gain


def _active(
    direct: Gain, dt: float, dtype
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The potentials between which g is neither silent nor saturated."""
    reach = math.asinh(FARTHEST / NEAREST)
    around = jnp.asarray(NEAREST * np.sinh(np.linspace(-reach, reach, LATTICE)), dtype)
    rates = direct(around)
    flat = FLAT[0] if dtype == jnp.float32 else FLAT[1]
    silence = jnp.maximum(rates[0] * (1.0 + flat), SILENT / dt)
    saturation = rates[-1] * (1.0 - flat)
    number = jnp.arange(LATTICE, dtype=jnp.int32)
    # The last potential before the first that is not silent, the first after the last that is not saturated.
    awake = jnp.min(jnp.where(rates > silence, number, LATTICE - 1))
    unsaturated = jnp.max(jnp.where(rates < saturation, number, 0))
    # Of a constant rate there is neither.
    low = jnp.clip(awake - 1, 0, LATTICE - 2)
    high = jnp.clip(unsaturated + 1, low + 1, LATTICE - 1)
    return around[low], around[high]


def _gain_of(gain: AbstractGain, neuron: AbstractNeuron, dt: float, dtype) -> Gain:
    """Made before the loop over time."""
    if isinstance(gain, ChebyshevGain):
        return gain.of(neuron, dt, dtype)
    return lambda potential: gain(neuron, potential, dt)


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
        return part_size(BLOCK, 2 * STEPS_CODED_AT_ONCE)

    def check(self, name: str, layer: AbstractLayer, grid: TimeGrid) -> None:
        check_dead_time(f"{name}.neuron", layer.neuron, grid.dt)

    def __call__(
        self,
        population: Population,
        path: diffrax.AbstractPath,
        grid: TimeGrid,
        *,
        tile_keys: Array | None = None,
        recorded: Integer[Array, " recorded"] | None = None,
    ) -> LayerOutput:
        dtype = population.bias.dtype
        rate = _gain_of(self.gain, population.neuron, grid.dt, dtype)

        def advance(state, ends, potentials, index):
            return state, rate(jnp.stack(potentials)) * grid.dt

        increments = grid_increments(path, grid, dtype)
        return run_in_blocks(
            population, increments, grid, BLOCK, advance, None, recorded
        )
