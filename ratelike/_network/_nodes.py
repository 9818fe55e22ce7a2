"""Nodes and weights that stand for an expectation over Gaussian numbers."""

import abc

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ratelike import _validation as validation

# More nodes than these are a mistake: a product rule in too many dimensions.
MOST_NODES = 2**20


class AbstractNodes(eqx.Module):
    """Points x_q and weights w_q with E f(x) ~ sum_q w_q f(x_q), x standard normal."""

    @abc.abstractmethod
    def __call__(
        self, num_latents: int, num_parameters: int, layer: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points (nodes, latents + parameters) and weights (nodes,), which add up to 1, in float64.

        Functions are odd in the first `num_latents` coordinates, or nearly: nodes should come in pairs there.
        """


class GaussHermite(AbstractNodes):
    r"""The product of one-dimensional Gauss-Hermite rules: for few dimensions.

    `num_nodes` in each dimension, of which those of a weight below `smallest_weight` times the largest are left out. For
    smooth functions the error falls geometrically with `num_nodes`; the number of nodes grows as its power.

    Raises `ValueError` unless `num_nodes` >= 1 and 0 <= `smallest_weight` < 1, and for more than 2^20 nodes.
    """

    num_nodes: int = eqx.field(static=True)
    smallest_weight: float = eqx.field(static=True)

    def __init__(self, num_nodes: int = 16, smallest_weight: float = 1e-10) -> None:
        self.num_nodes = validation.count("GaussHermite.num_nodes", num_nodes)
        self.smallest_weight = validation.number(
            "GaussHermite.smallest_weight", smallest_weight, at_least=0.0
        )
        if self.smallest_weight >= 1.0:
            raise ValueError(
                f"GaussHermite.smallest_weight must be less than 1, got {self.smallest_weight:g}"
            )

    def __call__(
        self, num_latents: int, num_parameters: int, layer: int
    ) -> tuple[np.ndarray, np.ndarray]:
        dimensions = num_latents + num_parameters
        if self.num_nodes**dimensions > MOST_NODES:
            raise ValueError(
                f"GaussHermite.num_nodes must be at most 2^(20 / {dimensions}) in {dimensions} dimensions, "
                f"got {self.num_nodes}; use QuasiMonteCarlo"
            )
        nodes, weights = np.polynomial.hermite_e.hermegauss(self.num_nodes)
        points = np.stack(np.meshgrid(*[nodes] * dimensions, indexing="ij"), axis=-1)
        products = weights
        for _ in range(dimensions - 1):
            products = np.multiply.outer(products, weights)
        points, products = points.reshape(-1, dimensions), products.reshape(-1)
        kept = products >= self.smallest_weight * products.max()
        return points[kept], products[kept] / products[kept].sum()


class QuasiMonteCarlo(AbstractNodes):
    r"""Scrambled Sobol points: for any number of dimensions, with an error of about 1/`num_points`.

    Points come in pairs of opposite encoders, so that what is even in the encoder averages out exactly, and they are
    stretched linearly until their covariance is the identity, so that what is linear in the encoder is exact as well.
    Every layer has another scrambling. All weights are equal. The same `key` gives the same points.

    *Limit.* In many dimensions, and for functions as steep as a high escape rate, the error falls more like
    1/sqrt(`num_points`): compare two numbers of points or two keys.

    Owen, J. Complexity 14, 466 (1998); `scipy.stats.qmc.Sobol`.

    Raises `ValueError` unless `num_points` is a power of two and more than twice the number of latents, and for a
    missing, raw or traced key.
    """

    num_points: int = eqx.field(static=True)
    key: Array

    def __init__(self, num_points: int, *, key: Array) -> None:
        self.num_points = validation.count(
            "QuasiMonteCarlo.num_points", num_points, at_least=2
        )
        if self.num_points & (self.num_points - 1):
            raise ValueError(
                f"QuasiMonteCarlo.num_points must be a power of two, got {num_points}"
            )
        self.key = validation.typed_key("QuasiMonteCarlo.key", key)

    def __call__(
        self, num_latents: int, num_parameters: int, layer: int
    ) -> tuple[np.ndarray, np.ndarray]:
        from scipy import special, stats  # slow to import

        if not validation.is_concrete(self.key):
            raise ValueError(
                "QuasiMonteCarlo.key must be concrete: make the network outside jit"
            )
        if self.num_points <= 2 * num_latents:
            raise ValueError(
                f"QuasiMonteCarlo.num_points must be more than twice the {num_latents} latents, got {self.num_points}"
            )
        seed = np.asarray(jax.random.key_data(jax.random.fold_in(self.key, layer)))
        sobol = stats.qmc.Sobol(
            num_latents + num_parameters, rng=np.random.default_rng(seed)
        )
        uniform = sobol.random_base2(self.num_points.bit_length() - 2)
        normal = special.ndtri(np.clip(uniform, 2.0**-31, 1.0 - 2.0**-31))
        directions, others = normal[:, :num_latents], normal[:, num_latents:]
        factor = np.linalg.cholesky(directions.T @ directions / len(directions))
        directions = np.linalg.solve(factor, directions.T).T
        pairs = np.concatenate([directions, -directions])
        points = np.concatenate([pairs, np.concatenate([others, others])], axis=1)
        return points, np.full(self.num_points, 1.0 / self.num_points)
