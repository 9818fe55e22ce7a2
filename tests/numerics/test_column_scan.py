"""A scan whose body sees one neuron at a time: its loop, and the kernel for GPUs, which is interpreted here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from ratelike._numerics._column_scan import ColumnScan
from ratelike._numerics._tile_random import threefry_words

pytestmark = pytest.mark.usefixtures("any_ranks")

NEURONS, STEPS, BINS = 11, 7, 4


def of_tile(constants, carry, shared, rows):
    """Leaky bins, one of which is read and reset in each step."""
    decay, gain = constants
    kernel, slot = shared
    bins, potential = carry
    first, second = rows
    potential = decay * potential + first - second
    bins = bins + gain * potential * kernel[:, None]
    chosen = jnp.arange(BINS, dtype=jnp.int32)[:, None] == slot
    out = jnp.sum(jnp.where(chosen, bins, 0.0), axis=0)
    sums = jnp.sum(bins, axis=1), jnp.sum(out)
    return (jnp.where(chosen, 0.0, bins), potential), (out, bins), sums


def in_rows(constants, carry, shared, rows):
    """The same with a list of bins."""
    decay, gain = constants
    kernel, slot = shared
    bins, potential = carry
    first, second = rows
    potential = decay * potential + first - second
    bins = [row + gain * potential * kernel[k] for k, row in enumerate(bins)]
    out = sum(jnp.where(k == slot, row, 0.0) for k, row in enumerate(bins))
    sums = [jnp.sum(row) for row in bins], jnp.sum(out)
    after = [jnp.where(k == slot, 0.0, row) for k, row in enumerate(bins)]
    return (after, potential), (out, bins), sums


def by_numpy(constants, carry, shared, rows):
    decay, gain = constants
    bins, potential = np.array(carry[0]), np.array(carry[1])
    outputs = []
    for kernel, slot, (first, second) in zip(
        *shared, zip(*rows, strict=True), strict=True
    ):
        potential = decay * potential + first - second
        bins += gain * potential * kernel[:, None]
        outputs.append((bins[slot].copy(), bins.copy()))
        bins[slot] = 0.0
    out, each = map(np.array, zip(*outputs, strict=True))
    return (bins, potential), (out, each), (each.sum(axis=2), out.sum(axis=1))


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    constants = np.float64(0.9), rng.normal(size=NEURONS)
    carry = rng.normal(size=(BINS, NEURONS)), rng.normal(size=NEURONS)
    slots = rng.integers(0, BINS, STEPS).astype(np.int32)
    shared = rng.normal(size=(STEPS, BINS)), slots
    rows = tuple(rng.normal(size=(2, STEPS, NEURONS)))
    return jax.tree.map(jnp.asarray, (constants, carry, shared, rows))


@pytest.mark.parametrize("body", [of_tile, in_rows])
def test_loop_and_kernel_are_the_scan(problem, body):
    # Four neurons each, so that the last program has one less.
    scan = ColumnScan(body, neurons_each=4, in_rows=body is in_rows)
    assert scan.has_kernel(*problem)
    expected = by_numpy(*jax.tree.map(np.asarray, problem))
    by_loop = scan.loop(*problem)
    by_kernel = scan.kernel(*problem, interpret=True)
    for found in (by_loop, by_kernel, scan(*problem)):
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12)


def test_from_the_last_step(problem):
    constants, carry, shared, rows = problem
    backwards = jax.tree.map(lambda x: x[::-1], (shared, rows))
    carry_after, outputs, sums = by_numpy(
        *jax.tree.map(np.asarray, (constants, carry, *backwards))
    )
    expected = carry_after, *jax.tree.map(lambda x: x[::-1], (outputs, sums))
    scan = ColumnScan(of_tile, neurons_each=4, is_reversed=True)
    for found in (scan.loop(*problem), scan.kernel(*problem, interpret=True)):
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12)


def test_in_a_batch(problem):
    constants, carry, shared, rows = problem
    scan = ColumnScan(of_tile, neurons_each=4)
    batch = jnp.stack([jnp.stack(rows), 2.0 * jnp.stack(rows)])

    def outputs(rows):
        return scan.kernel(constants, carry, shared, tuple(rows), interpret=True)[1][1]

    alone = jnp.stack([outputs(rows) for rows in batch])
    np.testing.assert_array_equal(jax.vmap(outputs)(batch), alone)


def test_derivatives_are_those_of_the_loop(problem):
    def loss(function, problem):
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(function(*problem)[1:]))

    constants, carry, shared, rows = problem
    scan = ColumnScan(of_tile)

    def of_rows(function):
        return jax.grad(lambda rows: loss(function, (constants, carry, shared, rows)))

    by_loop = of_rows(scan.loop)(rows)
    for x, y in zip(of_rows(scan)(rows), by_loop, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)
    direction = jax.tree.map(jnp.ones_like, rows)
    _, slope = jax.jvp(
        lambda rows: scan(constants, carry, shared, rows)[1][0], (rows,), (direction,)
    )

    def moved(step):
        there = tuple(row + step for row in rows)
        return scan.loop(constants, carry, shared, there)[1][0]

    up, down = moved(1e-6), moved(-1e-6)
    np.testing.assert_allclose(slope, (up - down) / 2e-6, atol=1e-7)


def test_no_kernel_of_what_pallas_cannot_do(problem):
    def sorts(constants, carry, shared, rows):
        carry, (out, _), sums = of_tile(constants, carry, shared, rows)
        return carry, jnp.sort(out), sums

    constants, carry, shared, rows = problem
    assert not ColumnScan(sorts).has_kernel(*problem)
    # A table is no constant of a neuron.
    table = constants[0], jnp.ones(NEURONS + 1)
    assert not ColumnScan(of_tile).has_kernel(table, carry, shared, rows)


def test_threefry_is_that_of_jax():
    key = jax.random.key_data(jax.random.key(3))
    counters = jnp.arange(20, dtype=jnp.uint32) * jnp.uint32(2**30 + 1)
    keys = jnp.repeat(key[:1], 10), jnp.repeat(key[1:], 10)
    words = threefry_words(keys, (counters[:10], counters[10:]))
    np.testing.assert_array_equal(jnp.concatenate(words), threefry_2x32(key, counters))
