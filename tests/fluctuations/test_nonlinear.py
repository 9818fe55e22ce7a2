"""Predictions with nonlinear layers: against all spike trains of a tiny network, finite differences, and spikes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ratelike as rl
from tests.oracles import networks
from tests.oracles.networks import white_noise

DT, TAU, STEPS = 1e-3, 3e-3, 4
# Three neurons without memory, one after the other. The first fires with p = 1/2, the second nearly so: then mean and
# variance of a spike say all of its law. The third answers the second by an exponential.
RATES, ENCODERS = (np.log(2.0) / DT, np.log(2.0) / DT, 100.0), (0.0, 1.0, 1.0)
DECODERS, BIASES = (3e-3, 4e-3, 1e-3), (0.0, -0.25, -0.5)


def chain():
    layers = [
        rl.Layer(
            rl.SRM0(TAU, rl.ExponentialEscape(rate), rl.NoRefractory()),
            [[encoder]],
            [[decoder]],
            bias,
        )
        for rate, encoder, decoder, bias in zip(
            RATES, ENCODERS, DECODERS, BIASES, strict=True
        )
    ]
    return rl.Network(layers), rl.TimeGrid(DT, STEPS), np.zeros((STEPS, 1))


def probabilities(layer, activity):
    """Of the neuron of a layer, to fire in each step, given the activity of that before it."""
    decay, start = np.exp(-DT / TAU), BIASES[layer]
    received = np.zeros(STEPS) if layer == 0 else DECODERS[layer - 1] * activity
    found = []
    for increment in ENCODERS[layer] * received:
        end = BIASES[layer] + decay * (start - BIASES[layer]) + (1 - decay) / DT * increment  # fmt: skip
        hazard = RATES[layer] * (np.exp(start) + np.exp(end)) / 2.0
        found.append(-np.expm1(-DT * hazard))
        start = end
    return np.array(found)


def outputs(p):
    """Mean and variance of the output membrane under spikes of probability p."""
    decay, lag = np.exp(-DT / TAU), np.subtract.outer(range(STEPS), range(STEPS))
    kernel = (1 - decay) / DT * DECODERS[-1] * np.tril(decay ** np.maximum(lag, 0))
    return kernel @ p, kernel**2 @ (p * (1.0 - p))


def all_trains():
    """The outputs of the rate network; and the weight, mean and variance of the outputs for each history of the first two."""
    activity = None
    for layer in range(3):
        activity = probabilities(layer, activity)
    rate, _ = outputs(activity)
    trains = np.array(list(itertools.product([0.0, 1.0], repeat=STEPS)))
    first, rows = probabilities(0, None), []
    for one in trains:
        second = probabilities(1, one)
        for two in trains:
            weight = np.where(one > 0, first, 1.0 - first).prod()
            weight *= np.where(two > 0, second, 1.0 - second).prod()
            rows.append((weight, *outputs(probabilities(2, two))))
    weights, means, variances = map(np.array, zip(*rows, strict=True))
    assert abs(weights.sum() - 1.0) < 1e-12
    return rate, weights[:, None], means, variances


OPTIONS = dict(num_probes=4096, key=jax.random.key(0), response=rl.NonlinearResponse())


def test_loss_is_a_sum_over_all_spike_trains():
    """4096 probes have a standard error of 0.2%; that the second neuron fires with p of 0.4 to 0.6 makes 0.3%.

    The same program gives the derivative along a direction of all parameters, which is that of finite differences.
    """
    network, grid, drive = chain()
    rate, weights, means, variances = all_trains()

    @jax.jit
    def loss_and_slope(distance, target):
        def loss(distance):
            at = jax.tree.map(lambda x: x * (1.0 + distance), network)
            return rl.expected_spiking_loss(at, drive, grid, target[:, None], **OPTIONS)

        return jax.jvp(loss, (distance,), (1.0,))

    for offset in (0.0, 0.5, -0.5):
        target = rate + offset
        exact = ((means - target) ** 2 + variances) * weights
        exact = exact.sum(axis=0).mean()
        loss, slope = loss_and_slope(0.0, target)
        np.testing.assert_allclose(loss, exact, rtol=0.01)
        shift = 2.0 * offset * ((means - rate) * weights).sum(axis=0).mean()
        assert offset == 0.0 or abs(shift) > 0.04 * exact
    ends = [float(loss_and_slope(end, target)[0]) for end in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


@pytest.mark.slow
def test_error_is_a_sum_over_all_spike_trains_of_those_before():
    """As above, and the output given these is taken to be Gaussian."""
    network, grid, drive = chain()
    rate, weights, means, variances = all_trains()
    sigma = np.sqrt(variances)
    folded = stats.foldnorm.mean(np.abs(means - rate) / sigma, scale=sigma) * weights
    error = rl.expected_error(network, drive, grid, **OPTIONS)
    np.testing.assert_allclose(error, folded.sum(axis=0).mean(), rtol=0.01)


@pytest.mark.slow
def test_gradient_is_that_of_finite_differences():
    """By all numbers of three layers, on a graded mesh; one probe has no partner."""
    neuron = rl.SRM0(
        escape=rl.ExponentialEscape(rate=40.0),
        refractory=rl.ExponentialRefractory(3.0, 8e-3, 2e-3, 20e-3),
    )
    network = networks.relay(neuron, 5, 2, 3, dtype=jnp.float64)
    grid, drive = rl.TimeGrid(1e-3, 12), white_noise(12, 2)
    target = np.random.default_rng(0).normal(size=(12, 2))
    generator, step = np.random.default_rng(1), 1e-6
    direction = jax.tree.map(
        lambda x: jnp.asarray(generator.normal(size=x.shape)) * jnp.abs(x).mean(),
        network,
    )

    @jax.jit
    def loss_and_slope(distance):
        at = jax.tree.map(lambda x, d: x + distance * d, network, direction)
        value, gradient = jax.value_and_grad(loss)(at)
        slopes = jax.tree.map(jnp.vdot, gradient, direction)
        return value, sum(jax.tree.leaves(slopes))

    def loss(network):
        return rl.expected_spiking_loss(
            network,
            drive,
            grid,
            target,
            num_probes=3,
            key=jax.random.key(0),
            age_mesh=rl.AgeMesh((0.0, 0.0, 4e-3)),
            response=rl.NonlinearResponse(),
        )

    ends = [float(loss_and_slope(sign * step)[0]) for sign in (1.0, -1.0)]
    central = (ends[0] - ends[1]) / (2.0 * step)
    assert abs(central) > 1e-3
    np.testing.assert_allclose(loss_and_slope(0.0)[1], central, rtol=1e-6)


@pytest.mark.slow
def test_predicts_the_error_of_a_small_deep_network():
    """Three layers of 64 neurons: within 3% and 3.9 standard errors, where linear noise is more than 10% off."""
    network = networks.relay(rl.SRM0(), 64, 10, 3, dtype=jnp.float32)
    grid, drive = rl.TimeGrid(1e-3, 400), white_noise(400, 10)
    rate = rl.simulate(network, drive, grid, rl.GeneralisedRate()).outputs

    def one(key):
        out = rl.simulate(network, drive, grid, rl.Spiking(), key=key).outputs
        return rl.mean_absolute_error(out, rate, burn_in=100)

    keys = jax.random.split(jax.random.key(3), 200)
    errors = np.asarray(jax.jit(lambda k: jax.lax.map(one, k))(keys))

    def predict(response):
        values = [
            rl.expected_error(
                network,
                drive,
                grid,
                burn_in=100,
                num_probes=4,
                key=jax.random.key(seed),
                response=response,
            )
            for seed in range(8)
        ]
        return np.mean(values) / errors.mean(), np.var(values, ddof=1) / 8

    ratio, variance = predict(rl.NonlinearResponse())
    spread = np.sqrt(variance + errors.var(ddof=1) / 200) / errors.mean()
    assert abs(ratio - 1.0) < 0.03 + 3.9 * spread, (ratio, spread)
    linear, _ = predict(rl.LinearResponse())
    assert linear < 0.9, linear
