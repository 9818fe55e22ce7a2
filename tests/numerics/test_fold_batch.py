"""A batch as more neurons: what comes out for each member is what comes of it alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ratelike._numerics._fold_batch import FEW, fold_batch

pytestmark = pytest.mark.usefixtures("any_ranks")

NEURONS = 3


def function(columns, shared, members):
    """Of each neuron alone, in each step; and a number of each member."""
    steps = jnp.cumsum(columns["rows"] * shared[:, None], axis=0) + columns["bias"]
    totals = jnp.sum(columns["bias"].reshape(members, -1), axis=-1)
    return steps, totals


@pytest.mark.parametrize("largest", [1, 6, 7, 10_000])
@pytest.mark.parametrize("batch", [1, 4, FEW + 1])
def test_each_member_is_as_alone(batch, largest):
    widths = []

    def watched(columns, shared, members):
        widths.append(columns["bias"].size)
        return function(columns, shared, members)

    keys = jax.random.split(jax.random.key(batch))
    columns = {
        "rows": jax.random.normal(keys[0], (batch, 5, NEURONS)),
        "bias": jax.random.normal(keys[1], (batch, NEURONS)),
    }
    shared = jnp.arange(1.0, 6.0)
    folded = fold_batch(watched, lambda: largest)
    steps, totals = jax.vmap(folded, in_axes=(0, None))(columns, shared)
    assert NEURONS <= max(widths) <= max(largest, NEURONS)
    if largest > batch * NEURONS:
        assert widths[-1] == batch * NEURONS
    for member in range(batch):
        own = jax.tree.map(lambda x: np.asarray(x[member]), columns)  # noqa: B023
        alone = np.cumsum(own["rows"] * np.arange(1.0, 6.0)[:, None], axis=0)
        np.testing.assert_allclose(steps[member], alone + own["bias"], rtol=1e-12)
        np.testing.assert_allclose(totals[member], [own["bias"].sum()], rtol=1e-12)


def test_batches_of_batches_and_of_what_is_shared():
    folded = fold_batch(function, lambda: 12)
    columns = {"rows": jnp.ones((2, 4, 5, NEURONS)), "bias": jnp.zeros((2, 4, NEURONS))}
    shared = jnp.arange(10.0).reshape(2, 5)
    each = jax.vmap(jax.vmap(folded, in_axes=(0, None)))
    steps, _ = each(columns, shared)
    expected = np.cumsum(shared, axis=1)[:, None, :, None] * np.ones((2, 4, 5, NEURONS))
    np.testing.assert_allclose(steps, expected, rtol=1e-12)
