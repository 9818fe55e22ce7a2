"""How the stationary rate of a conventional rate network is evaluated."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._neuron import AbstractNeuronModel, is_homogeneous
from ratelike._neuron._ages import num_ages
from ratelike._neuron._base import Elementwise
from ratelike._neuron._renewal import stationary_rate
from ratelike._numerics._batch_cond import any_of_batch
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._chebyshev import adaptive_cells, chebyshev_interpolant

# No more than so many spikes per step are as good as none.
SILENT = 1e-12
# A rate is saturated up to this difference from the largest, relative, in float32 and in float64.
FLAT = 4e-6, 1e-13
# Where the ends are looked for: both signs, from about the nearest potential to the farthest, beyond which g is constant.
NEAREST, FARTHEST, LATTICE = 1e-2, 1e6, 1024


class AbstractStationaryRate(eqx.Module):
    """How the stationary rate g(h) is evaluated for a block of potentials. A new one needs `prepare`."""

    @abc.abstractmethod
    def prepare(
        self, neuron: AbstractNeuronModel, dt: float, dtype: DTypeLike
    ) -> Elementwise:
        """g in hertz as a function of potentials alone, with all computed beforehand that does not depend on these."""

    @broadcasts
    def __call__(
        self, neuron: AbstractNeuronModel, potential: Float[Array, "..."], dt: float
    ) -> Float[Array, "..."]:
        """g(h) in hertz."""
        return self.prepare(neuron, dt, potential.dtype)(potential)


class DirectRate(AbstractStationaryRate):
    """`stationary_rate` at every potential: the definition, at the cost of one sum over ages each."""

    def prepare(
        self, neuron: AbstractNeuronModel, dt: float, dtype: DTypeLike
    ) -> Elementwise:
        return lambda potential: stationary_rate(neuron, potential, dt)


class ChebyshevRate(AbstractStationaryRate):
    r"""log g by Chebyshev interpolation on fixed cells of the potential, made once for each layer.

    The cells cover the potentials from where a neuron is silent (10^-12 spikes per step; below, g is constant) to where
    it is saturated (4 * 10^-6 from its largest rate in float32, 10^-13 in float64; above, g is constant), with more of
    them where log g bends. In each it is a polynomial through 6 values of the definition in float32, 12 in float64.
    So g of a neuron depends on its own potential alone, whatever the others of its block have. Values and gradients
    with respect to potentials and neuron parameters are interpolated alike.

    *Error.* Each cell has an estimate, from the decay of its coefficients and from how well it meets its neighbours.
    Where that exceeds 3 * 10^-5 (corners and jumps of an escape rate; thresholds so sharp that refractoriness spans some
    500 escape widths) the definition is evaluated: `DirectRate`'s value, at `DirectRate`'s cost for all potentials of
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

    def __init__(self, num_cells: int = 384) -> None:
        self.num_cells = validation.count(
            "ChebyshevRate.num_cells", num_cells, at_least=4
        )

    def prepare(
        self, neuron: AbstractNeuronModel, dt: float, dtype: DTypeLike
    ) -> Elementwise:
        def of_type(neuron: AbstractNeuronModel) -> Elementwise:
            def direct(potential: Float[Array, "..."]) -> Float[Array, "..."]:
                return stationary_rate(neuron, potential, dt)

            if num_ages(neuron, dt) == 1 or not is_homogeneous(neuron):
                return direct
            return _with_table(direct, dt, dtype, self.num_cells)

        # Neurons of one type share their g, whatever the others do.
        return neuron.by_type(of_type)


def _with_table(
    direct: Elementwise, dt: float, dtype: DTypeLike, num_cells: int
) -> Elementwise:
    """g by interpolation where that is trusted, elsewhere by its definition."""

    def logarithm(potential: Float[Array, "..."]) -> Float[Array, "..."]:
        rates = direct(potential)
        return jnp.log(jnp.maximum(rates, jnp.finfo(rates.dtype).tiny))

    # Where the cells lie is a device of the interpolation and has no derivative.
    lowest, highest = jax.lax.stop_gradient(_active(direct, dt, dtype))
    cells = jax.lax.stop_gradient(adaptive_cells(logarithm, lowest, highest, num_cells))
    table = chebyshev_interpolant(jax.checkpoint(logarithm), cells)

    def by_table(potential: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(jnp.minimum(table(potential), -math.log(dt)))

    def in_part(potential: Float[Array, "..."]) -> Float[Array, "..."]:
        trusted = table.trusts(potential)
        anew = jax.lax.cond(any_of_batch(~trusted), direct, jnp.zeros_like, potential)
        return jnp.where(trusted, by_table(potential), anew)

    doubtful = any_of_batch(~table.trusted)

    def rate(potential: Float[Array, "..."]) -> Float[Array, "..."]:
        # Reverse mode keeps nothing of what may not be needed.
        ways = jax.checkpoint(in_part), jax.checkpoint(by_table)
        return jax.lax.cond(doubtful, *ways, potential)

    return rate


def _active(
    direct: Elementwise, dt: float, dtype: DTypeLike
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
