"""Weights of low rank from given ones: against brute force with the given weights, and against dense algebra."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import ratelike as rl
from tests.network import test_recurrence as brute_force

pytestmark = pytest.mark.usefixtures("any_ranks")

NEURONS = 70


def dense(diagonal):
    weights = 0.005 * np.random.default_rng(1).normal(size=(NEURONS, NEURONS))
    weights[np.diag_indices(NEURONS)] *= diagonal
    return weights


def sparse(num_neurons=200):
    """Some structure, of rank three, and noise."""
    generator = np.random.default_rng(2)
    rows, columns = generator.integers(num_neurons, size=(2, 2000))
    left, right = generator.normal(size=(2, num_neurons, 3))
    values = np.sum(left[rows] * right[columns], axis=1) + 0.1 * generator.normal(
        size=2000
    )
    return scipy.sparse.coo_matrix((values, (rows, columns)), (num_neurons,) * 2)


@pytest.mark.parametrize("name", ["spiking", "generalised"])
@pytest.mark.parametrize("self_connection", [False, True])
def test_of_full_rank_the_network_is_that_of_the_given_weights(name, self_connection):
    """A loop over steps in NumPy that knows the given weights only."""
    weights = dense(diagonal=float(self_connection))
    feedback = rl.Feedback.from_weights(
        weights, NEURONS, 2e-3, self_connection=self_connection
    )
    values = brute_force.arrays()
    # The reference makes J = E D^T / N of these.
    values |= dict(feedback_encoder=NEURONS * weights, feedback_decoder=np.eye(NEURONS))
    react = brute_force.NumpySpiking(NEURONS, 2)
    if name == "generalised":
        react = brute_force.NumpyGeneralised(NEURONS)
    _, activity = brute_force.reference(values, react, 2, self_connection)
    layer = rl.Layer(
        brute_force.neuron(), values["encoder"], values["decoder"], values["bias"], feedback
    )  # fmt: skip
    run = rl.simulate(
        rl.Network([layer]),
        values["increments"],
        brute_force.GRID,
        brute_force.DYNAMICS[name],
        key=brute_force.KEY,
        record={0: range(NEURONS)},
    )
    np.testing.assert_allclose(run.recordings[0].activity, activity, atol=1e-9)
    assert rl.low_rank(weights, NEURONS, self_connection=self_connection).error < 1e-7


@pytest.mark.parametrize("rank", [1, 5, NEURONS - 1])
@pytest.mark.parametrize("self_connection", [False, True])
@pytest.mark.parametrize("diagonal", [0.0, 4.0])
def test_error_is_that_of_the_weights_that_run(rank, self_connection, diagonal):
    weights = dense(diagonal)
    found = rl.low_rank(weights, rank, self_connection=self_connection)
    run = rl.Feedback(*found[:2], self_connection=self_connection).weights
    expected = np.linalg.norm(weights - run) / np.linalg.norm(weights)
    np.testing.assert_allclose(found.error, expected, rtol=1e-6)
    values = np.linalg.svd(weights, compute_uv=False)
    np.testing.assert_allclose(found.singular_values, values[:rank], rtol=1e-10)
    if self_connection:  # Eckart and Young: no weights of the rank are nearer
        nearest = np.sqrt(np.sum(values[rank:] ** 2) / np.sum(values**2))
        np.testing.assert_allclose(found.error, nearest, rtol=1e-6)


@pytest.mark.parametrize("self_connection", [False, True])
def test_a_sparse_matrix_is_the_dense_one_and_is_never_made_dense(
    self_connection, monkeypatch
):
    weights = sparse()
    expected = rl.low_rank(weights.toarray(), 3, self_connection=self_connection)
    for kind in (scipy.sparse.csr_array, scipy.sparse.csr_matrix):
        monkeypatch.setattr(kind, "toarray", None)
    for each in (weights, weights.tocsc(), scipy.sparse.csr_array(weights)):
        found = rl.low_rank(each, 3, self_connection=self_connection)
        np.testing.assert_allclose(found.encoder, expected.encoder, atol=1e-9)
        np.testing.assert_allclose(found.decoder, expected.decoder, atol=1e-9)
        np.testing.assert_allclose(found.error, expected.error, rtol=1e-9)


def test_weights_between_two_populations():
    """Of N sources, of which the decoded activity is the mean."""
    weights = np.random.default_rng(0).normal(size=(7, 12))
    for shape in (weights, weights.T):
        found = rl.low_rank(shape, 7)
        product = found.encoder @ found.decoder.T / shape.shape[1]
        np.testing.assert_allclose(product, shape, atol=1e-12)
        part = rl.low_rank(scipy.sparse.csr_array(shape), 3)
        product = part.encoder @ part.decoder.T / shape.shape[1]
        error = np.linalg.norm(product - shape) / np.linalg.norm(shape)
        np.testing.assert_allclose(part.error, error, rtol=1e-10)


def test_nothing_and_single_precision():
    for zeros in (np.zeros((5, 5)), scipy.sparse.csr_array((5, 5))):
        found = rl.low_rank(zeros, 2)
        assert found.error == 0.0
        assert not np.any(found.encoder)
    single = rl.low_rank(jnp.asarray(dense(0.0), jnp.float32), 2)
    assert single.encoder.dtype == single.decoder.dtype == jnp.float32


CASES = {
    "weights must have shape (targets, sources), got shape (3,)": (np.ones(3),),
    "weights must be finite, got nan": (np.full((3, 3), np.nan),),
    "rank must be at most 3 for weights of shape (3, 3), got 4": (np.ones((3, 3)), 4),
    "rank must be at most 2 for sparse weights of shape (3, 3), got 3": (
        scipy.sparse.csr_array(np.eye(3)),
        3,
    ),
    "weights must be finite, got inf": (scipy.sparse.coo_matrix([[np.inf]]),),
    "rank must be a whole number of at least 1": (np.ones((3, 3)), 0),
    "self_connection must be True or False, got 1": (np.ones((3, 3)), 1, 1),
}


@pytest.mark.parametrize(("message", "case"), CASES.items(), ids=list(CASES))
def test_what_cannot_be_is_refused(message, case):
    weights, rank, self_connection = (*case, *(1, False)[len(case) - 1 :])
    with pytest.raises(ValueError, match=re.escape(message)):
        rl.low_rank(weights, rank, self_connection=self_connection)


def test_weights_that_are_being_traced_are_refused():
    with pytest.raises(ValueError, match="weights must be concrete"):
        jax.jit(lambda weights: rl.low_rank(weights, 1).encoder)(jnp.eye(3))
