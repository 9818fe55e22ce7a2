"""Weights of low rank that are nearest to given ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation


class LowRank(NamedTuple):
    """What `low_rank` returns: `encoder, decoder, error, singular_values = low_rank(weights, rank)`."""

    encoder: Float[Array, "targets rank"]
    decoder: Float[Array, "sources rank"]
    error: float  # |J - what runs| / |J|, Frobenius norms
    singular_values: Float[np.ndarray, " rank"]  # of J, the largest first


def low_rank(weights: Any, rank: int, *, self_connection: bool = False) -> LowRank:
    r"""Encoder and decoder of the weights of rank `rank` that are nearest to `weights`, J ~ E D^T / N, and what is cut off.

    N is the number of sources. `weights[i, j]` is J_ij, to neuron i from neuron j, in units of the potential times seconds: a spike of j makes the
    potential of i jump by J_ij / tau_m. With the singular value decomposition J = U S V^T,

        E = sqrt(N) U S^(1/2),     D = sqrt(N) V S^(1/2),     of the largest `rank` singular values (Eckart and Young, 1936),

    for `Feedback(encoder, decoder)`, or `Feedback.from_weights`, which does both. Columns have the sign with which the
    largest entry of the encoder is positive.

    `weights` are an array (targets, sources), or a matrix of scipy.sparse, which stays sparse: memory grows with its
    entries and with N rank (Lanczos iteration, `scipy.sparse.linalg.svds`, for a rank below N).

    *The diagonal* of square weights. `Feedback` takes off what a neuron would send to itself. So without `self_connection` a given diagonal
    is lost, and that of the low-rank weights, too; `error` counts what is left: it is that of the weights that run. With
    `self_connection=True` nothing is taken off, and the diagonal is approximated as the rest is: so for weights between two populations
    (`Connection`) of the same size, too. The error is right to 10^-7.

    What is cut off is lost for the network: weights without structure, such as random sparse ones, have no large singular
    values, and need all of them. Then, too, the generalised rate of the network is not its limit, which is that of a
    rank small compared with N.

    >>> encoder, decoder, error, _ = rl.low_rank(weights, rank=3)  # doctest: +SKIP
    >>> network = rl.Network([rl.Layer(neuron, None, decoder, feedback=rl.Feedback(encoder, decoder))])  # doctest: +SKIP

    Raises `ValueError` for weights that are no matrix of finite numbers or are being traced, and for a rank below 1 or
    above the number of rows or of columns (of a sparse matrix, one below the smaller of both).
    """
    validation.flag("self_connection", self_connection)
    sparse = is_sparse(weights)
    matrix = _checked_sparse(weights) if sparse else _checked_dense(weights)
    targets, sources = matrix.shape
    rank = validation.count("rank", rank)
    largest = min(targets, sources) - (1 if sparse else 0)
    if rank > largest:
        raise ValueError(
            f"rank must be at most {largest} for {'sparse ' if sparse else ''}weights of shape {matrix.shape}, got {rank}"
        )
    left, values, right = _decomposed(matrix, rank)
    norm = float(np.sqrt(np.sum(np.square(matrix.data if sparse else matrix))))
    cut_off = max(norm**2 - float(np.sum(values[:rank] ** 2)), 0.0)
    if not sparse:  # without the cancellation
        cut_off = float(np.sum(values[rank:] ** 2))
    left, values, right = left[:, :rank], values[:rank], right[:, :rank]
    if not self_connection and targets == sources:
        own = np.sum(left * values * right, axis=1)
        given = matrix.diagonal()
        cut_off = max(cut_off - np.sum((given - own) ** 2), 0.0) + np.sum(given**2)
    scale = np.sqrt(sources * values)
    dtype = weights.dtype if isinstance(weights, jax.Array) else float
    return LowRank(
        encoder=jnp.asarray(left * scale, dtype),
        decoder=jnp.asarray(right * scale, dtype),
        error=float(np.sqrt(cut_off)) / norm if norm > 0.0 else 0.0,
        singular_values=values,
    )


def is_sparse(weights: Any) -> bool:
    """Whether it is a matrix or an array of scipy.sparse."""
    import scipy.sparse

    return scipy.sparse.issparse(weights)


def _checked_dense(weights: Any) -> Float[np.ndarray, "targets sources"]:
    if not validation.is_concrete(weights):
        raise ValueError("weights must be concrete, got an array that is being traced")
    matrix = np.asarray(validation.parameter("weights", weights), np.float64)
    validation.shape("weights", matrix, ("targets", "sources"))
    return matrix


def _checked_sparse(weights: Any) -> Any:
    """As a sparse array in compressed rows, in double precision."""
    import scipy.sparse

    if weights.ndim != 2:
        raise ValueError(
            f"weights must have shape (targets, sources), got shape {weights.shape}"
        )
    matrix: Any = scipy.sparse.csr_array(weights)
    if matrix.nnz:
        validation.parameter("weights", matrix.data)
    matrix = matrix.astype(np.float64)
    matrix.sum_duplicates()
    return matrix


def _decomposed(
    matrix: Any, rank: int
) -> tuple[
    Float[np.ndarray, "targets values"],
    Float[np.ndarray, " values"],
    Float[np.ndarray, "sources values"],
]:
    """Left singular vectors, singular values and right singular vectors: all, or of a sparse matrix the largest."""
    if isinstance(matrix, np.ndarray):
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
    elif matrix.nnz == 0:
        left, right = (np.zeros((size, rank)) for size in matrix.shape)
        return left, np.zeros(rank), right
    else:
        from scipy.sparse.linalg import svds

        # A start of its own, so that the result is the same every time.
        start = np.random.default_rng(0).standard_normal(min(matrix.shape))
        found: Any = svds(matrix, k=rank, v0=start)
        left, values, right = found
        order = np.argsort(values)[::-1]
        left, values, right = left[:, order], values[order], right[order]
    right = right.T
    largest = np.argmax(np.abs(left), axis=0)
    signs = np.where(left[largest, np.arange(left.shape[1])] < 0.0, -1.0, 1.0)
    return left * signs, values, right * signs
