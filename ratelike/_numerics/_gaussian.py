"""Means over a standard normal number, by a rule of nodes and weights."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class GaussianRule(NamedTuple):
    """E f(x) ~ sum_q w_q f(x_q) / sum_q w_q for a standard normal x, with nodes x_q and weights w_q."""

    nodes: Float[np.ndarray, " nodes"]
    weights: Float[np.ndarray, " nodes"]

    def mean(self, values: Float[Array, "nodes *shape"]) -> Float[Array, "*shape"]:
        """E f(x), of the values of f at the nodes."""
        weights = jnp.asarray(self.weights / self.weights.sum(), dtype=values.dtype)
        return jnp.tensordot(weights, values, axes=1)


def gauss_hermite(num_nodes: int) -> GaussianRule:
    """Exact for polynomials of degree 2 `num_nodes` - 1."""
    return GaussianRule(*np.polynomial.hermite_e.hermegauss(num_nodes))


def trapezoidal(num_nodes: int, largest: float) -> GaussianRule:
    """Nodes of equal distance from -`largest` to `largest`: converges geometrically for smooth functions."""
    nodes = np.linspace(-largest, largest, num_nodes)
    return GaussianRule(nodes, np.exp(-(nodes**2) / 2.0))
