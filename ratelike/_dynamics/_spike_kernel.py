"""Blocks of steps of spiking neurons as a scan in which every neuron goes its own way."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt

from ratelike._dynamics._groups import STEPS_OF_A_GROUP, Advance
from ratelike._neuron import AbstractNeuronModel
from ratelike._numerics._column_scan import ColumnScan
from ratelike._numerics._tile_random import (
    TILE,
    exponential_of_words,
    threefry_words,
)
from ratelike._population._population import Population
from ratelike._signal._membrane import Leak, leak_of
from ratelike._types import PyTree

Rows = list[Float[Array, " neurons"]]


class _Constants(NamedTuple):
    neuron: PyTree[Array]
    bias: Float[Array, " neurons"]
    leak: Leak
    key: tuple[UInt[Array, " neurons"], UInt[Array, " neurons"]]  # of each one's tile
    lane: UInt[Array, " neurons"]  # its place in the tile


def spiking_group(
    population: Population,
    tile_keys: Array,
    dt: float,
    block: int,
    neurons: PyTree,
    advance: Callable[..., tuple[PyTree, Rows]],
    *,
    keeps_potential: bool,
) -> tuple[int, Advance] | None:
    """The steps of a group, and how neurons advance through it; None where there is no kernel.

    `advance(neurons, draws, ends, potentials, neuron)` takes them through one block.
    """
    if str(jax.random.key_impl(tile_keys)) != "threefry2x32":
        return None
    arrays, rest = eqx.partition(population.neuron, eqx.is_array)

    def body(
        constants: _Constants, carry: tuple, index: Int[Array, ""], currents: Rows
    ) -> tuple[tuple, tuple[Rows, Rows | None], None]:
        driven, neurons = carry
        neuron: AbstractNeuronModel = eqx.combine(constants.neuron, rest)
        ends = [constants.bias + driven]
        for current in currents:
            driven = constants.leak.after(driven, constants.leak.push(current))
            ends.append(constants.bias + driven)
        potentials = [
            neuron.potential_in_step(*both) for both in itertools.pairwise(ends)
        ]
        draws = _draws(constants, index, driven.dtype)
        neurons, spikes = advance(neurons, draws, ends, potentials, neuron)
        outputs = spikes, potentials if keeps_potential else None
        return (driven, neurons), outputs, None

    scan = ColumnScan(body, in_rows=True)
    constants = _Constants(
        neuron=arrays,
        bias=population.bias,
        leak=leak_of(population.neuron.tau_m, dt),
        key=_key_of_each(tile_keys, population.num_neurons),
        lane=jnp.arange(population.num_neurons, dtype=jnp.uint32) % TILE,
    )
    num_blocks = max(1, STEPS_OF_A_GROUP // block)
    shape = (num_blocks, block, population.num_neurons)
    rows = jax.ShapeDtypeStruct(shape, population.bias.dtype)
    numbers = jnp.arange(num_blocks, dtype=jnp.int32)
    if not scan.has_kernel(constants, (population.bias, neurons), numbers, rows):
        return None

    def group(state: PyTree, index: Array, currents: Array) -> tuple:
        state, outputs, _ = scan(
            constants, state, index * num_blocks + numbers, currents.reshape(shape)
        )
        spikes, potential = jax.tree.map(
            lambda x: x.reshape(-1, population.num_neurons), outputs
        )
        return state, spikes, potential

    return num_blocks * block, group


def _key_of_each(
    tile_keys: Array, num_neurons: int
) -> tuple[UInt[Array, " neurons"], UInt[Array, " neurons"]]:
    words = jnp.repeat(jax.random.key_data(tile_keys), TILE, axis=0)[:num_neurons]
    return words[:, 0], words[:, 1]


def _draws(
    constants: _Constants, index: Int[Array, ""], dtype: jnp.dtype
) -> Float[Array, " neurons"]:
    """What `standard_exponential` draws, for each neuron from words of its own."""
    counter = jnp.broadcast_to(index.astype(jnp.uint32), constants.lane.shape)
    half = TILE // 2
    words = threefry_words(constants.key, (counter, constants.lane % half))
    word = jnp.where(constants.lane < half, *words)
    return exponential_of_words(word, dtype)
