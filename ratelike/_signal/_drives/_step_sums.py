"""What each step of a grid takes from the rows of a table: a product with a sparse matrix, in a fixed order of additions."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer


class StepSums(NamedTuple):
    """The entries of a sparse matrix (time, rows), in the order of its steps."""

    begin: Integer[np.ndarray, " time"]  # the first entry of each step
    number: Integer[np.ndarray, " time"]  # of its entries
    rows: Integer[np.ndarray, " entries"]
    weights: Float[np.ndarray, " entries"]
    most: int  # at least the largest number

    def of(self, table: Float[Array, "rows latents"]) -> Float[Array, "time latents"]:
        """For each step the sum of weight x row over its entries."""
        weights = jnp.asarray(self.weights, table.dtype)
        begin, number, rows = map(jnp.asarray, (self.begin, self.number, self.rows))
        return _sums(table, begin, number, rows, weights, self.most)


def step_sums(
    steps: Integer[np.ndarray, " entries"],
    rows: Integer[np.ndarray, " entries"],
    weights: Float[np.ndarray, " entries"],
    num_steps: int,
    num_rows: int,
) -> StepSums:
    """From entries in any order, of which those of one step and row become one."""
    place = steps.astype(np.int64) * num_rows + rows
    place, inverse = np.unique(place, return_inverse=True)
    weights = np.bincount(inverse, weights, minlength=len(place))
    steps, rows = place // num_rows, place % num_rows
    number = np.bincount(steps, minlength=num_steps)
    most = int(number.max(initial=1))
    # Sizes are powers of two, so that pieces of a run share programs; entries beyond the last one are never taken.
    spare = _power_of_two(len(rows)) - len(rows)
    return StepSums(
        (np.cumsum(number) - number).astype(np.int32),
        number.astype(np.int32),
        np.pad(rows, (0, spare)).astype(np.int32),
        np.pad(weights, (0, spare)),
        _power_of_two(most),
    )


def _power_of_two(at_least: int) -> int:
    return 1 << max(at_least - 1, 0).bit_length()


@eqx.filter_jit
def _sums(
    table: Float[Array, "rows latents"],
    begin: Integer[Array, " time"],
    number: Integer[Array, " time"],
    rows: Integer[Array, " entries"],
    weights: Float[Array, " entries"],
    most: int,
) -> Float[Array, "time latents"]:
    def add(total: Array, index: Array) -> tuple[Array, None]:
        entry = begin + index
        weight = jnp.where(index < number, weights[entry], 0.0)
        return total + weight[:, None] * table[rows[entry]], None

    # One after the other: sums have the same bits in every piece of a run, and on every device.
    total = jnp.zeros((len(begin), table.shape[1]), table.dtype)
    return jax.lax.scan(add, total, jnp.arange(most, dtype=begin.dtype))[0]
