"""Domains of `fit`: values stay inside, gradients are those of the map, and what cannot be is refused."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ratelike as rl
from tests.oracles import networks

pytestmark = pytest.mark.usefixtures("any_ranks")

NEURON = rl.SRM0(refractory=rl.ExponentialRefractory(memory=10e-3))
NETWORK = networks.relay(NEURON, 6, seed=1)
LAYER = NETWORK.layers[0]
MASK = np.random.default_rng(3).random((6, 2)) < 0.5


def fitted(where, centre, num_steps=200, rate=0.3):
    """Encoder and bias, drawn to `centre` by a loss that costs no simulation."""

    def loss(network, key):
        layer = network.layers[0]
        return jnp.sum((layer.encoder - centre) ** 2) + jnp.sum(layer.bias**2)

    network, _ = rl.fit(
        NETWORK,
        loss,
        where=lambda network: where(network.layers[0]),
        optimiser=optax.adam(rate),
        num_steps=num_steps,
        key=jax.random.key(0),
    )
    return network.layers[0]


def test_signs_are_kept_against_a_loss_that_pulls_across_zero():
    start = np.asarray(LAYER.encoder)
    end = np.asarray(
        fitted(lambda layer: rl.train.SignKept(layer.encoder), -start).encoder
    )
    np.testing.assert_array_equal(np.sign(end), np.sign(start))
    assert np.all(np.abs(end) < 1e-2 * np.abs(start))
    # Where the loss lies on the same side it is reached: the map is onto.
    end = fitted(
        lambda layer: rl.train.SignKept(layer.encoder), 3.0 * start, 400
    ).encoder
    np.testing.assert_allclose(end, 3.0 * start, rtol=1e-3)


def test_an_interval_is_not_left_and_its_borders_are_approached():
    low, high = LAYER.encoder - 0.1, LAYER.encoder.max() + 0.1
    where = lambda layer: rl.train.Between(layer.encoder, low, high)  # noqa: E731
    for centre, border in ((-1e3, low), (1e3, high)):
        end = fitted(where, centre).encoder
        assert bool(jnp.all((low <= end) & (end <= high)))
        np.testing.assert_allclose(end, np.broadcast_to(border, (6, 2)), atol=1e-2)


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_a_sum_stays_and_the_rest_goes_to_the_nearest_point(axis):
    start = np.asarray(LAYER.encoder)
    centre = np.random.default_rng(1).normal(size=(6, 2))
    end = fitted(lambda layer: rl.train.FixedSum(layer.encoder, axis), centre).encoder
    np.testing.assert_allclose(end.sum(axis), start.sum(axis), atol=1e-12)
    # The projection of the centre onto arrays of these sums.
    nearest = centre + (start - centre).mean(axis, keepdims=True)
    np.testing.assert_allclose(end, nearest, atol=2e-2)


INDICES = {
    "mask": MASK,
    "rows": [4, 0],
    "slices": np.s_[1:5:2, -1],
    "one entry": (2, 0),
    "columns": np.s_[..., 1],
}


@pytest.mark.parametrize("index", INDICES.values(), ids=list(INDICES))
def test_of_a_part_nothing_else_moves(index):
    """By an optimiser with moments and decay, which would move what only has no gradient."""
    start = np.asarray(LAYER.encoder)
    chosen = np.zeros((6, 2), bool)
    chosen[index] = True
    where = lambda layer: rl.train.Part(rl.train.SignKept(layer.encoder), index)  # noqa: E731
    end = np.asarray(fitted(where, -start, num_steps=30).encoder)
    np.testing.assert_array_equal(end != start, chosen)
    np.testing.assert_array_equal(np.sign(end), np.sign(start))


def test_parts_of_one_array_have_their_own_domains():
    start = np.asarray(LAYER.encoder)
    end = fitted(
        lambda layer: [
            rl.train.Part(rl.train.SignKept(layer.encoder), slice(0, 2)),
            rl.train.Part(layer.encoder, [4, 3]),
            layer.bias,
        ],
        -start,
    ).encoder
    np.testing.assert_allclose(end[:2], 0.0, atol=1e-2)
    np.testing.assert_array_equal(end[2::3], start[2::3])
    np.testing.assert_allclose(end[3:5], -start[3:5], atol=1e-2)


START = jnp.asarray([[0.3, -2.0, 1e-3], [0.0, 5.0, -1e-4]])
DOMAINS = {
    "sign": rl.train.SignKept(None),
    "interval": rl.train.Between(None, -3.0, jnp.asarray([6.0, 7.0, 0.5])),
    "sum": rl.train.FixedSum(None, 1),
    "part": rl.train.Part(rl.train.SignKept(None), np.asarray(START) > 0.0),
}


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=list(DOMAINS))
@pytest.mark.parametrize("away", [0.0, 2.0])
def test_the_map_begins_at_the_start_and_has_its_own_gradient(domain, away):
    domain.check("array", START)
    initial = domain.initial(START)
    np.testing.assert_array_equal(domain.value(START, initial), START)
    generator = np.random.default_rng(0)
    x = initial + away * generator.normal(size=initial.shape)
    weights = generator.normal(size=START.shape)

    def weighted(x):
        return jnp.sum(weights * domain.value(START, x))

    gradient, direction = jax.grad(weighted)(x), generator.normal(size=x.shape)
    step = 1e-5 * direction
    difference = (weighted(x + step) - weighted(x - step)) / 2e-5
    np.testing.assert_allclose(jnp.sum(gradient * direction), difference, rtol=1e-7)
    # Nothing that may move is dead at the start.
    free = (START[START > 0.0] if "Part" in str(type(domain)) else START) != 0.0
    if away == 0.0 and not isinstance(domain, rl.train.FixedSum):
        assert bool(jnp.all((gradient != 0.0) | ~free))


@pytest.mark.parametrize("name", ["sign", "interval"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_far_away_values_stay_inside_and_gradients_finite(name, dtype):
    start, domain = START.astype(dtype), DOMAINS[name]
    for x in (-1e6, -200.0, 200.0, 1e6):
        x = jnp.full_like(start, x)
        value = domain.value(start, x)
        gradient = jax.grad(lambda x: jnp.sum(domain.value(start, x)))(x)
        assert value.dtype == dtype
        assert bool(jnp.all(jnp.isfinite(value) & jnp.isfinite(gradient)))
        if name == "sign":
            np.testing.assert_array_equal(jnp.sign(value), jnp.sign(start))
        else:
            assert bool(jnp.all((value >= -3.0) & (value <= domain.high.astype(dtype))))


TRAIN = rl.train
REFUSED = {
    "Between.high must be greater than low": lambda layer: TRAIN.Between(
        layer.bias, 1, 1
    ),
    "encoder must lie between low and high of ratelike.train.Between": lambda layer: (
        TRAIN.Between(layer.encoder, 0.0, 1.0)
    ),
    "Between.low must broadcast to the shape (6, 2) of network": lambda layer: (
        TRAIN.Between(layer.encoder, np.full(6, -9.0), 9.0)
    ),
    "FixedSum.axis must be one of the 1 axes of network.layers[0].bias": lambda layer: (
        TRAIN.FixedSum(layer.bias, 1)
    ),
    "at least two numbers in each sum": lambda layer: TRAIN.Part(
        TRAIN.FixedSum(layer.encoder, 1), np.s_[:, :1]
    ),
    "Part.index must fit network.layers[0].bias of shape (6,), got index 6": lambda layer: (
        TRAIN.Part(layer.bias, [0, 6])
    ),
    "Part.index must fit network.layers[0].encoder of shape (6, 2), got boolean": (
        lambda layer: TRAIN.Part(layer.encoder, MASK[:5])
    ),
    "got an entry is chosen twice": lambda layer: TRAIN.Part(layer.bias, [1, 1]),
    "Part.index must choose at least one": lambda layer: TRAIN.Part(
        layer.bias, slice(6, 9)
    ),
    "Part.index must be numbers, slices": lambda layer: TRAIN.Part(layer.bias, "exc"),
    "encoder twice": lambda layer: [
        TRAIN.Part(layer.encoder, 0),
        TRAIN.Part(layer.encoder, np.s_[:, 1]),
    ],
    "bias twice": lambda layer: [TRAIN.Part(layer.bias, 0), layer.bias],
    "got Positive within SignKept": lambda layer: TRAIN.SignKept(
        TRAIN.Positive(layer.bias)
    ),
    "got Part within Part": lambda layer: TRAIN.Part(TRAIN.Part(layer.bias, 0), 0),
    "give network.layers[0].neuron.tau_m a domain": lambda layer: TRAIN.Part(
        layer.neuron.tau_m, ()
    ),
}


@pytest.mark.parametrize(("message", "where"), REFUSED.items(), ids=list(REFUSED))
def test_what_cannot_be_is_refused_by_name(message, where):
    with pytest.raises(ValueError, match=re.escape(message)):
        fitted(where, 0.0, num_steps=1)
