"""The conventional rate: a static function of the potential."""

import dataclasses
from typing import Any, ClassVar

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractContinuingDynamics
from ratelike._dynamics._blocks import (
    Carried,
    Rows,
    at_rest,
    longest_block,
    run_in_blocks,
)
from ratelike._dynamics._groups import STEPS_OF_A_GROUP, run_in_groups
from ratelike._dynamics._potential_scan import potentials_of_group
from ratelike._dynamics._potential_state import (
    PotentialShared,
    PotentialState,
    check_kind,
)
from ratelike._dynamics._stationary_rates import AbstractStationaryRate, ChebyshevRate
from ratelike._network import AbstractLayer
from ratelike._neuron import AbstractNeuronModel, check_dead_time
from ratelike._numerics import _platform as platform
from ratelike._numerics._time_blocks import Part
from ratelike._population._chunk_size import chunk_size
from ratelike._population._layer_state import AbstractLayerState, SettledState
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid

# Steps whose rates are computed at once.
BLOCK = 16


class ConventionalRate(AbstractContinuingDynamics):
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

    def check_state(
        self,
        name: str,
        state: AbstractLayerState | None,
        layer: AbstractLayer,
        grid: TimeGrid,
    ) -> None:
        check_kind(name, state, PotentialState, "ConventionalRate()")

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
        increments = grid_increments(path, grid, dtype)
        if platform.has_gpu() and population.recurrence is None:
            potentials = potentials_of_group(population, grid.dt)
            if potentials is not None:
                rate = self.rate.prepare(population.neuron, grid.dt, dtype)

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
        carried = at_rest(population, grid.dt, None)
        # A loop as a piece, so that pieces have its bits: what is sent round is rounded alike in one program only.
        first = None if population.recurrence is None else jnp.zeros((), jnp.int32)
        return self._run(population, increments, grid, carried, recorded, first)[0]

    def run_piece(
        self,
        population: Population,
        path: diffrax.AbstractPath[Any],
        grid: TimeGrid,
        *,
        tile_keys: Array | None = None,
        recorded: Integer[Array, " recorded"] | None = None,
        initial: AbstractLayerState | None,
    ) -> LayerOutput:
        bias = population.bias
        carried, step = at_rest(population, grid.dt, None), jnp.zeros((), jnp.int32)
        if isinstance(initial, SettledState):
            carried = carried._replace(driven=initial.neurons - bias)
            if initial.shared is not None:
                carried = carried._replace(under_way=initial.shared.under_way)
        elif isinstance(initial, PotentialState):
            under_way = initial.shared.under_way
            carried = Carried(initial.driven(bias), None, under_way)
            step = initial.shared.step
        increments = grid_increments(path, grid, bias.dtype)
        # Of the steps of a block not all are rounded alike: blocks begin at multiples of their length.
        block = longest_block(population, grid.dt, BLOCK)
        first = step % block
        output, after = self._run(
            population, increments, grid, carried, recorded, first
        )
        final = PotentialState(
            (after.driven, bias),
            PotentialShared(step + grid.num_steps, after.under_way),
        )
        return dataclasses.replace(output, final=final)

    def _run(
        self,
        population: Population,
        increments: Float[Array, "time *tiles latents"],
        grid: TimeGrid,
        carried: Carried,
        recorded: Integer[Array, " recorded"] | None,
        first: Integer[Array, ""] | None,
    ) -> tuple[LayerOutput, Carried]:
        rate = self.rate.prepare(population.neuron, grid.dt, population.bias.dtype)

        def advance(
            state: None,
            ends: Rows,
            potentials: Rows,
            index: Integer[Array, ""],
            part: Part | None,
        ) -> tuple[None, Float[Array, "block neurons"]]:
            return state, rate(jnp.stack(potentials)) * grid.dt

        block = longest_block(population, grid.dt, BLOCK)
        return run_in_blocks(
            population, increments, grid, block, advance, carried, recorded, first
        )
