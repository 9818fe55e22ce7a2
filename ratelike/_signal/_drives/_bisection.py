"""Bisection of a stationary Ornstein-Uhlenbeck process: what is known of an interval decides the law of its halves.

Of an interval one knows x at its begin and end, and the mean of x between them. These three and the same of a half are
Gaussian with known covariances, and what happens within the interval does not depend on anything outside of it: halving
an interval again and again, with fresh random numbers each time, gives the process at any time and its exact integral.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from ratelike._types import PyTree


class Interval(NamedTuple):
    """x at the ends, its mean between them, and the key of all that happens within."""

    begin: Float[Array, " latents"]
    end: Float[Array, " latents"]
    mean: Float[Array, " latents"]
    key: Key[Array, ""]


class HalvingLaw(NamedTuple):
    """(x in the middle, mean of the first half) = `slopes` (begin, end, mean) + `noise` (two standard normal numbers)."""

    slopes: Float[Array, "*levels 2 3"]
    noise: Float[Array, "*levels 2 2"]


def halving_law(
    length: float,
) -> tuple[Float[np.ndarray, "2 3"], Float[np.ndarray, "2 2"]]:
    """The arrays of a `HalvingLaw` for `length` time constants and variance 1, in float64 on the host."""
    known, half = _covariance(length), length / 2.0
    to_end, of_half = np.exp(-half), _mean_decay(half)
    # Rows: x in the middle and the mean of the first half; columns: begin, end, mean.
    mean = 0.5 * (_mean_variance(half) + of_half**2)
    shared = np.array([[to_end, to_end, of_half], [of_half, to_end * of_half, mean]])
    own = np.array([[1.0, of_half], [of_half, _mean_variance(half)]])
    slopes = np.linalg.solve(known, shared.T).T
    return slopes, _root(own - slopes @ shared.T)


def whole_interval(
    length: float, num_latents: int, key: Key[Array, ""], dtype: np.dtype
) -> Interval:
    """A first interval of `length` time constants, drawn from the stationary law."""
    draw, inside = jax.random.split(key)
    numbers = jax.random.normal(draw, (3, num_latents), dtype)
    factor = jnp.asarray(_root(_covariance(length)), dtype)
    begin, end, mean = _product(factor, numbers)
    return Interval(begin, end, mean, inside)


def halved(
    interval: Interval,
    law: HalvingLaw,
    second: Bool[Array, ""],
) -> tuple[Interval, Float[Array, " latents"]]:
    """The `second` half or the first one, and the mean of x over the first one."""
    draw, *inside = jax.random.split(interval.key, 3)
    numbers = jax.random.normal(draw, (2, len(interval.mean)), interval.mean.dtype)
    known = jnp.stack([interval.begin, interval.end, interval.mean])
    middle, mean = _product(law.slopes, known) + _product(law.noise, numbers)
    first = Interval(interval.begin, middle, mean, inside[0])
    other = Interval(middle, interval.end, 2.0 * interval.mean - mean, inside[1])
    return _chosen(second, other, first), mean


def _chosen(condition: Bool[Array, ""], yes: PyTree, no: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def _product(
    matrix: Float[Array, "rows columns"], vectors: Float[Array, "columns latents"]
) -> Float[Array, "rows latents"]:
    # Sums in a fixed order: a matrix product would have other bits for other numbers of times.
    total = matrix[:, 0, None] * vectors[0][None]
    for column in range(1, matrix.shape[1]):
        total = total + matrix[:, column, None] * vectors[column][None]
    return total


def _covariance(length: float) -> Float[np.ndarray, "3 3"]:
    """Of begin, end and mean."""
    ends, mean = np.exp(-length), _mean_decay(length)
    variance = _mean_variance(length)
    return np.array([[1.0, ends, mean], [ends, 1.0, mean], [mean, mean, variance]])


def _mean_decay(length: float) -> float:
    """The mean of exp(-s) for s from 0 to `length`."""
    return -np.expm1(-length) / length


def _mean_variance(length: float) -> float:
    """The variance of the mean of x: 2 (s - 1 + exp(-s)) / s^2."""
    if length > 0.5:
        return 2.0 * (length + np.expm1(-length)) / length**2
    # The differences above lose digits; 2 sum_k (-s)^k / (k + 2)!
    term, total = 1.0, 0.0
    for k in range(16):
        total += term
        term *= -length / (k + 3)
    return total


def _root(covariance: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """A factor R with R R^T = `covariance`, which may be singular up to rounding."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))
