"""The conventional rate: a static function of the potential."""

from typing import Any, ClassVar

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._blocks import Rows, run_in_blocks
from ratelike._dynamics._groups import STEPS_OF_A_GROUP, run_in_groups
from ratelike._dynamics._potential_scan import potentials_of_group
from ratelike._dynamics._stationary_rates import AbstractStationaryRate, ChebyshevRate
from ratelike._network import AbstractLayer
from ratelike._neuron import AbstractNeuronModel, check_dead_time
from ratelike._numerics import _platform as platform
from ratelike._population._chunk_size import chunk_size
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid

# Steps whose rates are computed at once.
BLOCK = 16


class ConventionalRate(AbstractDynamics):
    r"""r = g(h), with g(h) the stationary rate of the same discrete-time neuron at constant potential h.

    This is what a rate network usually is, and it is *not* the limit of the spiking network. `rate` says how g is
    evaluated: `ChebyshevRate()`, or `DirectRate()` for its definition at every potential.

    *Neuronal Dynamics*, chapter 15 (rate models and their limits).
    """

    rate: AbstractStationaryRate
    needs_key: ClassVar[bool] = False

    def __init__(self, rate: AbstractStationaryRate | None = None) -> None:
        self.rate = ChebyshevRate() if rate is None else rate
        validation.instance("ConventionalRate.rate", self.rate, AbstractStationaryRate)

    def neurons_at_once(self, neuron: AbstractNeuronModel, grid: TimeGrid) -> int:
        return chunk_size(BLOCK, 3 * STEPS_OF_A_GROUP)

    def check(self, name: str, layer: AbstractLayer, grid: TimeGrid) -> None:
        check_dead_time(f"{name}.neuron", layer.neuron, grid.dt)

    def __call__(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        *,
        tile_keys: Array | None = None,
        recorded: Integer[Array, " recorded"] | None = None,
    ) -> LayerOutput:
        dtype = population.bias.dtype
        rate = self.rate.prepare(population.neuron, grid.dt, dtype)

        def advance(
            state: None, ends: Rows, potentials: Rows, index: Integer[Array, ""]
        ) -> tuple[None, Float[Array, "block neurons"]]:
            return state, rate(jnp.stack(potentials)) * grid.dt

        increments = grid_increments(path, grid, dtype)
        if platform.has_gpu() and population.recurrence is None:
            potentials = potentials_of_group(population, grid.dt)
            if potentials is not None:

                def of_group(
                    driven: Array, index: Array, currents: Array
                ) -> tuple[Array, Array, Array]:
                    driven, acting = potentials(driven, currents)
                    return driven, rate(acting) * grid.dt, acting

                start = jnp.zeros_like(population.bias)
                steps = STEPS_OF_A_GROUP
                return run_in_groups(
                    population, increments, grid, steps, of_group, start, recorded
                )
        return run_in_blocks(
            population, increments, grid, BLOCK, advance, None, recorded
        )
