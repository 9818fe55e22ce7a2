r"""Polynomial interpolation in Chebyshev points, for very many arguments at a time.

Even and odd part are polynomials in u = 4 x^2 - 2, which lies in [-2, 2]:

    p(x) = p_even(u) + x p_odd(u),   p_*(u) = c_0 + (u - u_0) (c_1 + (u - u_1) (c_2 + ...)).

Newton's form is stable with its points in Leja's order on an interval of length 4 (Reichel, BIT 30, 332 (1990)). Unlike
Clenshaw's recursion it uses every intermediate result once, so that XLA makes it one loop over the arguments.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike._population import matmul


def nodes(number: int) -> np.ndarray:
    """An even `number` of points in [-1, 1]: the positive ones in the order of `_points`, then their opposites."""
    positive = np.sqrt(_points(number // 2) / 4.0 + 0.5)
    return np.concatenate([positive, -positive])


def interpolate(
    values: Float[Array, " nodes"], x: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """At x in [-1, 1], the polynomial that takes `values` at `nodes(len(values))`."""
    half = len(values) // 2
    of_positive, of_negative = values[:half], values[half:]
    # Not a division: XLA turns one by constants into this product in some programs, and not in others.
    inverse = jnp.asarray(1.0 / nodes(2 * half)[:half], values.dtype)
    parts = of_positive + of_negative, (of_positive - of_negative) * inverse
    differences = jnp.asarray(_divided_differences(half), values.dtype)
    even, odd = (matmul(differences, 0.5 * part) for part in parts)
    u, points = 4.0 * x * x - 2.0, _points(half)
    p_even, p_odd = jnp.full_like(x, even[-1]), jnp.full_like(x, odd[-1])
    for k in reversed(range(half - 1)):
        factor = u - float(points[k])
        p_even, p_odd = p_even * factor + even[k], p_odd * factor + odd[k]
    return p_even + x * p_odd


@functools.cache
def _points(number: int) -> np.ndarray:
    """Chebyshev points on [-2, 2]; each in turn has the largest product of distances to those before it."""
    points = 2.0 * np.cos(np.pi * (np.arange(number) + 0.5) / number)
    chosen = [0]
    logarithm = np.zeros(number)
    while len(chosen) < number:
        with np.errstate(divide="ignore"):
            logarithm = logarithm + np.log(np.abs(points - points[chosen[-1]]))
        chosen.append(int(np.argmax(logarithm)))
    return points[chosen]


@functools.cache
def _divided_differences(number: int) -> np.ndarray:
    """The matrix that takes values at `_points` to the coefficients of Newton's form."""
    points = _points(number)
    matrix = np.zeros((number, number))
    for row in range(number):
        distances = points[: row + 1, None] - points[None, : row + 1]
        np.fill_diagonal(distances, 1.0)
        matrix[row, : row + 1] = 1.0 / distances.prod(axis=1)
    return matrix
