r"""A function of one variable as polynomials on the cells of an interval, for very many arguments at a time.

The interval is dealt into stretches of equal length, and each of these into as many cells of equal length as the
function bends there. So an argument finds its cell by arithmetic and two look-ups, and its value depends on nothing but
itself: not on what else is evaluated beside it. Look-ups in tables that stay in cache cost less than one polynomial of
high degree.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ratelike._numerics._products import matmul

# By the decay of its last coefficients a cell's error is estimated, and above this not trusted.
TRUSTED_ERROR = 3e-5
SAMPLES_PER_STRETCH = 10
# Cells for each unit of the integral of sqrt |f''|, of which a transition from one slope to another by 1 takes pi.
CELLS_PER_BEND = 20.0


class Cells(eqx.Module):
    """Place y, in stretches from the lowest argument, lies in stretch j = [y] and cell [offset[j] + y count[j]]."""

    lowest: Float[Array, ""]
    highest: Float[Array, ""]
    per_length: Float[Array, ""]  # stretches
    offset: Float[Array, " stretches"]
    count: Float[Array, " stretches"]
    centre: Float[Array, " cells"]
    half: Float[Array, " cells"]  # of a cell's length
    inverse: Float[Array, " cells"]  # of that

    def locate(
        self, x: Float[Array, "*shape"]
    ) -> tuple[Integer[Array, "*shape"], Float[Array, "*shape"]]:
        """The cell of each argument, and its place in it between -1 and 1; outside the interval that of the end."""
        x = jnp.clip(x, self.lowest, self.highest)
        place = jax.lax.stop_gradient((x - self.lowest) * self.per_length)
        # Clipped as a whole number: that of a NaN may be any.
        stretch = jnp.clip(place.astype(jnp.int32), 0, len(self.count) - 1)
        cell = look_up(self.offset, stretch) + place * look_up(self.count, stretch)
        cell = jnp.clip(cell.astype(jnp.int32), 0, len(self.centre) - 1)
        # From the middle of the cell, so that no digits are lost far from 0.
        return cell, (x - look_up(self.centre, cell)) * look_up(self.inverse, cell)


class Piecewise(eqx.Module):
    """A polynomial in each cell, constant outside of them."""

    cells: Cells
    coefficients: Float[Array, "powers cells"]
    trusted: Bool[Array, " cells"]

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        cell, place = self.cells.locate(x)
        value = look_up(self.coefficients[-1], cell)
        for coefficient in self.coefficients[-2::-1]:
            value = value * place + look_up(coefficient, cell)
        return value

    def trusts(self, x: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
        return look_up(self.trusted, self.cells.locate(x)[0])


def look_up(table: Array, index: Integer[Array, "*shape"]) -> Array:
    return table.at[index].get(mode="promise_in_bounds")


def adaptive_cells(
    function: Callable[[Float[Array, " points"]], Float[Array, " points"]],
    lowest: Float[Array, ""],
    highest: Float[Array, ""],
    num_cells: int,
) -> Cells:
    """A quarter of the cells one to each stretch, the others where the function bends."""
    stretches = num_cells // 4
    samples = stretches * SAMPLES_PER_STRETCH
    length = (highest - lowest) / stretches
    places = jnp.arange(-0.5, samples + 1.0, dtype=lowest.dtype) / SAMPLES_PER_STRETCH
    value = function(lowest + places * length)
    bend = jnp.sqrt(jnp.abs(value[2:] - 2.0 * value[1:-1] + value[:-2]))
    bend = bend.reshape(stretches, -1).sum(axis=1)
    spare = float(num_cells - stretches)
    each = jnp.minimum(CELLS_PER_BEND, spare / jnp.maximum(bend.sum(), 1e-6))
    # By a little less: rounded sums must not exceed the number of cells.
    count = 1.0 + jnp.floor(each * bend * (1.0 - 1e-5))
    first = jnp.cumsum(count) - count
    # Cells that no stretch needs are more of the last one's, beyond the end.
    cell = jnp.arange(num_cells, dtype=jnp.int32)
    stretch = jnp.searchsorted(first.astype(jnp.int32), cell, side="right") - 1
    within = cell.astype(count.dtype) - first[stretch]
    place = stretch.astype(count.dtype) + (within + 0.5) / count[stretch]
    number = jnp.arange(stretches, dtype=count.dtype)
    half = 0.5 * length / count[stretch]
    return Cells(
        lowest,
        highest,
        1.0 / length,
        offset=first - number * count,
        count=count,
        centre=lowest + place * length,
        half=half,
        inverse=1.0 / half,
    )


def chebyshev_interpolant(
    function: Callable[[Float[Array, "nodes cells"]], Float[Array, "nodes cells"]],
    cells: Cells,
) -> Piecewise:
    """By Chebyshev interpolation in each cell."""
    dtype = cells.half.dtype
    nodes, *matrices = _transforms(6 if dtype == jnp.float32 else 12)
    nodes = jnp.asarray(nodes, dtype)[:, None]
    to_chebyshev, to_powers, to_slopes = (jnp.asarray(m, dtype) for m in matrices)
    points = cells.centre + cells.half * nodes
    values = function(points)
    # A point is a rounded number, beside which the node lies by so many half cells.
    missed = nodes - (points - cells.centre) / cells.half
    values = values + missed * matmul(to_slopes, values)
    coefficients = matmul(to_powers, values)
    last = jnp.abs(matmul(to_chebyshev[-3:], values))
    accurate = last[2] + last[1] / 4 + last[0] / 16 < TRUSTED_ERROR
    # A jump beside the outermost node shows where neighbours meet, at the same rounded number.
    edge = (cells.centre + cells.half)[:-1]
    below, above = (
        _polynomial(coefficients[:, of], (edge - cells.centre[of]) / cells.half[of])
        for of in (slice(None, -1), slice(1, None))
    )
    gap = jnp.abs(above - below)
    meets = jnp.pad(gap < 2.0 * TRUSTED_ERROR, 1, constant_values=True)
    return Piecewise(cells, coefficients, accurate & meets[:-1] & meets[1:])


def _polynomial(
    coefficients: Float[Array, "powers *shape"], place: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * place + coefficient
    return value


@functools.cache
def _transforms(number: int) -> tuple[np.ndarray, ...]:
    """Chebyshev nodes in [-1, 1]; from values there to Chebyshev coefficients, to those of powers, to slopes."""
    nodes = np.cos(np.pi * (np.arange(number) + 0.5) / number)
    to_chebyshev = np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, number - 1))
    powers = np.vander(nodes, number, increasing=True)
    to_powers = np.linalg.inv(powers)
    slopes = np.zeros_like(powers)
    slopes[:, 1:] = powers[:, :-1] * np.arange(1, number)
    return nodes, to_chebyshev, to_powers, slopes @ to_powers
