"""The potentials of a group of steps as a scan in which every neuron goes its own way."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._dynamics._groups import STEPS_OF_A_GROUP
from ratelike._numerics._column_scan import ColumnScan
from ratelike._population._population import Population
from ratelike._signal._membrane import leak_of

Row = Float[Array, " neurons"]
# (h - b at the beginning, currents) -> (h - b at the end, potentials that act)
Potentials = Callable[
    [Row, Float[Array, "steps neurons"]], tuple[Row, Float[Array, "steps neurons"]]
]


def potentials_of_group(population: Population, dt: float) -> Potentials | None:
    """None where there is no kernel."""
    arrays, rest = eqx.partition(population.neuron, eqx.is_array)

    def body(
        constants: tuple, driven: Row, shared: None, current: Row
    ) -> tuple[Row, Row, None]:
        arrays, bias, leak = constants
        before = driven
        driven = leak.after(driven, leak.push(current))
        neuron = eqx.combine(arrays, rest)
        acting = neuron.potential_in_step(bias + before, bias + driven)
        return driven, acting, None

    scan = ColumnScan(body)
    bias = population.bias
    constants = arrays, bias, leak_of(population.neuron.tau_m, dt)
    shape = (STEPS_OF_A_GROUP, population.num_neurons)
    rows = jax.ShapeDtypeStruct(shape, bias.dtype)
    if not scan.has_kernel(constants, jnp.zeros_like(bias), None, rows):
        return None

    def potentials(
        driven: Row, currents: Float[Array, "steps neurons"]
    ) -> tuple[Row, Float[Array, "steps neurons"]]:
        driven, acting, _ = scan(constants, driven, None, currents)
        return driven, acting

    return potentials
