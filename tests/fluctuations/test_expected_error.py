"""Predicted error and loss: the noise they rest on against exact results, the predictions against spikes.

Statistical tests have fixed keys, stated tolerances, and a sabotage that must fail.
"""

from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ratelike as rl
from ratelike._fluctuations._block import Noise
from ratelike._fluctuations._density import (
    Density,
    acting_between,
    density_at_rest,
    react,
    shift,
)
from ratelike._fluctuations._expected_error import folded_mean
from ratelike._fluctuations._layer import layer_fluctuations
from ratelike._fluctuations._network import output_fluctuations
from ratelike._fluctuations._probes import advance_probe, random_signs
from ratelike._neuron._ages import ages
from ratelike._numerics._tile_random import tile_keys
from ratelike._signal._membrane import leak_of
from tests.oracles import networks, systems
from tests.oracles.networks import white_noise

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

EXACT = rl.AgeMesh.uniform()
NEURON = rl.SRM0(
    escape=rl.ExponentialEscape(rate=20.0),
    refractory=rl.ExponentialRefractory(3.0, 8e-3, 2e-3, 20e-3),
)
RESET = systems.ResetNeuron(
    jnp.asarray(5e-3), rl.ExponentialEscape(rate=60.0), -2.0, 12e-3
)


def relay(num_neurons, depth, num_latents=4, neuron=NEURON, dtype=jnp.float64):
    return networks.relay(neuron, num_neurons, num_latents, depth, dtype=dtype)


def test_of_one_layer_it_is_the_exact_standard_deviation():
    network, grid, increments = relay(30, 1), rl.TimeGrid(1e-3, 60), white_noise(60)
    variance = rl.readout_variance(network.layers[0], increments, grid)
    exact = np.sqrt(2.0 / np.pi) * np.sqrt(variance[10:]).mean()
    error = rl.expected_error(network, increments, grid, burn_in=10)
    np.testing.assert_allclose(error, exact, rtol=1e-12)


@pytest.mark.parametrize("memory", [3e-3, 8e-3])
def test_linear_noise_has_the_exact_variance(memory):
    """Its output is linear in the noise: squared answers to each transition of each step add up to the variance."""
    dt, num_steps = 1e-3, 8
    refractory = rl.ExponentialRefractory(2.0, 3e-3, 1e-3, memory)
    neuron = rl.SRM0(escape=rl.ExponentialEscape(rate=150.0), refractory=refractory)
    layer = rl.Layer(neuron, np.zeros((1, 1)), np.ones((1, 1)), 0.3)
    grid = rl.TimeGrid(dt, num_steps)
    age = ages(neuron, dt, jnp.float64)
    leak = leak_of(jnp.asarray(10e-3), dt)
    a = np.exp(-dt / 10e-3)

    def trace(noise):
        density = density_at_rest(neuron, layer.bias, len(age))
        probe = jax.tree.map(jnp.zeros_like, density)
        y, out = 0.0, []
        for zeta in noise:
            acting = acting_between(neuron, density.potential, density.potential)
            step = react(neuron, age, dt, density, acting)
            scaled = zeta * jnp.sqrt(step.survivors * step.probability + 1e-300)
            probe, activity = advance_probe(
                probe, None, scaled, density, step, acting, neuron, leak, shift
            )
            density = Density(
                density.potential, shift(step.activity, step.survivors), None
            )
            y = a * y + (1 - a) / dt * activity[0]
            out.append(y)
        return jnp.stack(out)

    answers = jax.jacobian(trace)(jnp.zeros((num_steps, len(age), 1)))
    variance = jnp.sum(answers**2, axis=(1, 2, 3))
    exact = rl.readout_variance(layer, np.zeros((num_steps, 1)), grid)[:, 0]
    np.testing.assert_allclose(variance, exact, rtol=1e-10)


@pytest.mark.parametrize("neuron", [NEURON, RESET], ids=["SRM0", "reset"])
def test_the_answer_to_a_fluctuation_is_the_derivative_of_the_rate(neuron):
    layer = relay(300, 1, neuron=NEURON).layers[0]
    layer = eqx.tree_at(lambda x: x.neuron, layer, neuron)
    grid, increments = rl.TimeGrid(1e-3, 30), white_noise(30)
    probes = 0.01 * jax.random.normal(jax.random.key(2), (30, 2, 4))
    ours = layer_fluctuations(
        layer,
        increments,
        probes,
        grid,
        noise=None,
        readout=None,
        workers=None,
        age_mesh=EXACT,
    )

    def rate(increments):
        dynamics = rl.GeneralisedRate(adjoint=diffrax.ForwardMode())
        network = rl.Network([layer])
        return rl.simulate(network, increments, grid, dynamics).increments[0]

    for index in range(2):
        exact, slope = jax.jvp(rate, (increments,), (probes[:, index],))
        np.testing.assert_allclose(ours.increments, exact, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(
            ours.probes[:, index], slope, rtol=1e-8, atol=1e-10 * np.abs(slope).max()
        )


def test_signs_are_fair_independent_and_belong_to_their_neurons():
    """Means and products of 4 * 10^5 signs within 4.5 standard errors (false-positive rate about 10^-5 each)."""
    keys = tile_keys(jax.random.key(0), 640)
    signs = np.stack(random_signs(keys, jnp.asarray(7), 2, 41, jnp.float64))
    assert signs.shape == (2, 41, 640)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    later = np.stack(random_signs(keys, jnp.asarray(8), 2, 41, jnp.float64))
    pairs = [
        signs,
        signs[0] * signs[1],
        signs * later,
        signs[:, 1:] * signs[:, :-1],
        signs[:, 32:] * signs[:, :-32],
        signs[..., 1:] * signs[..., :-1],
        signs[..., 64:] * signs[..., :-64],
    ]
    for products in pairs:
        assert abs(products.mean()) * np.sqrt(products.size) < 4.5
    fewer = random_signs(keys[:3], jnp.asarray(7), 2, 41, jnp.float64)
    np.testing.assert_array_equal(np.stack(fewer), signs[..., : 3 * 64])


def memoryless_layer(decoder, bias=1.0):
    """At constant potential all that its probes carry is a sign times sqrt(p (1 - p)) times the decoder, over N."""
    neuron = rl.SRM0(10e-3, rl.ExponentialEscape(40.0), rl.NoRefractory())
    return rl.Layer(neuron, np.zeros((len(decoder), 1)), decoder, bias)


def test_noise_of_steps_probes_and_neurons_is_independent():
    """Means and products of signs within 4.5 standard errors (false-positive rate about 10^-5 each)."""
    num_neurons, num_steps, dt = 64, 100, 1e-3
    layer, grid = memoryless_layer(np.eye(num_neurons)), rl.TimeGrid(dt, num_steps)
    noise = Noise(jax.random.key(0), 2)
    zeros = jnp.zeros((num_steps, 1))
    run = layer_fluctuations(
        layer,
        zeros,
        None,
        grid,
        noise=noise,
        readout=None,
        workers=None,
        age_mesh=EXACT,
    )
    p = -np.expm1(-dt * 40.0 * np.exp(1.0))
    signs = np.asarray(run.probes) * num_neurons / np.sqrt(p * (1.0 - p))
    np.testing.assert_allclose(np.abs(signs), 1.0, rtol=1e-10)
    later = [signs[lag:] * signs[:-lag] for lag in (1, 2, 3, 4, 32)]
    # Of each pair of neighbouring steps by itself, so that no pair is always alike.
    even, odd = later[0][0::2], later[0][1::2]
    pairs = [*later, even, odd, signs[:, 0] * signs[:, 1], signs[..., 1:] * signs[..., :-1]]  # fmt: skip
    for products in [signs, *pairs]:
        assert abs(products.mean()) * np.sqrt(products.size) < 4.5


def test_noise_of_layers_is_independent():
    """What two layers pass on adds up in variance, each by itself with noise of other keys.

    4096 probes that are alike at few moments: the ratio has a standard error of about 0.03. One neuron in each layer,
    whose noise has the same effect in both, is where common noise doubles the variance.
    """
    grid, increments = rl.TimeGrid(1e-3, 24), jnp.zeros((24, 1))
    neuron = rl.SRM0(3e-3, rl.ExponentialEscape(40.0), rl.NoRefractory())
    layers = [rl.Layer(neuron, [[8.0]], [[2e-3]], 1.0) for _ in range(3)]

    def run(layer, state, key):
        noise = None if key is None else Noise(key, 1)
        rate, probes, _ = layer_fluctuations(
            layer,
            state[0],
            state[1],
            grid,
            noise=noise,
            readout=None,
            workers=None,
            age_mesh=EXACT,
        )
        return rate, probes

    def alone(noisy):
        def one(key):
            state = increments, None
            for index, layer in enumerate(layers):
                state = run(layer, state, key if index == noisy else None)
            return state[1][:, 0, 0]

        return one

    def both(key):
        path = rl.GridPath(increments, grid)
        network = rl.Network(layers, 1e-9)  # the outputs are the increments, over dt
        return output_fluctuations(
            network, path, grid, key, 1, [EXACT] * 3, None
        ).passed_on[:, 0, 0]

    keys = jax.random.split(jax.random.key(0), 3 * 4096).reshape(3, -1)
    together, first, second = (
        np.mean(np.square(jax.jit(jax.vmap(one))(each))[4:])
        for one, each in zip((both, alone(0), alone(1)), keys, strict=True)
    )
    together *= 1e-3**2
    assert min(first, second) > 0.2 * max(first, second)
    assert abs(together / (first + second) - 1.0) < 0.15


def test_mean_of_a_folded_gaussian():
    mean = np.array([0.0, 0.3, -2.0, 5.0, -1e-3])
    sigma = np.array([1.0, 0.2, 3.0, 0.5, 1e-2])
    exact = stats.foldnorm.mean(np.abs(mean) / sigma, scale=sigma)
    ours = folded_mean(jnp.asarray(mean), jnp.asarray(sigma**2))
    np.testing.assert_allclose(ours, exact, rtol=1e-12)
    for dtype in (jnp.float32, jnp.float64):
        edges = jnp.asarray([0.0, 1.0, -2.0, 1e3], dtype)
        variance = jnp.asarray([0.0, 0.0, 1e-30, 1e-6], dtype)
        value = folded_mean(edges, variance)
        last_bits = 4 * float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(value, np.abs(edges), rtol=last_bits)
        slopes = jax.grad(lambda m, v: folded_mean(m, v).sum(), (0, 1))(edges, variance)
        assert all(bool(jnp.isfinite(slope).all()) for slope in slopes)


def measured(network, increments, grid, burn_in, trials, target=None):
    """Mean absolute error to the rate network, and squared to `target`, of spikes: means and standard errors."""
    rate = rl.simulate(network, increments, grid, rl.GeneralisedRate()).outputs
    target = rate if target is None else target

    def one(key):
        out = rl.simulate(network, increments, grid, rl.Spiking(), key=key).outputs
        square = jnp.mean(((out - target) ** 2)[burn_in:])
        return jnp.mean(jnp.abs(out - rate)[burn_in:]), square

    keys = jax.random.split(jax.random.key(3), trials)
    values = np.asarray(jax.jit(lambda k: jax.lax.map(one, k))(keys))
    return values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(trials)


@pytest.mark.slow
def test_predicts_error_and_loss_of_a_small_deep_network():
    """Within 3% of the error, 5% of the loss, and 3.9 standard errors of both sides (about 1%).

    Without what the first two layers pass on, the prediction is far off.
    """
    network = relay(1024, 3, dtype=jnp.float32)
    grid, increments = rl.TimeGrid(1e-3, 300), white_noise(300)
    target = 0.3 * jnp.sin(jnp.arange(1200.0, dtype=jnp.float32).reshape(300, 4) / 40)
    (error, loss), (error_spread, loss_spread) = measured(
        network, increments, grid, 100, 30, target
    )
    arguments = dict(burn_in=100, num_probes=4)
    predictions = [
        rl.expected_error(
            network, increments, grid, key=jax.random.key(seed), **arguments
        )
        for seed in range(6)
    ]
    spread = np.std(predictions, ddof=1)
    assert spread < 0.03 * error, "the probes scatter"
    tolerance = 0.03 * error + 3.9 * np.hypot(spread / np.sqrt(6), error_spread)
    assert abs(np.mean(predictions) - error) < tolerance, (predictions, error)
    # Numbers of Python, which mix with NumPy's under strict promotion; arrays of JAX do not.
    expected = float(
        rl.expected_spiking_loss(
            network, increments, grid, target, key=jax.random.key(0), **arguments
        )
    )
    rate = float(rl.rate_loss(network, increments, grid, target, burn_in=100))
    assert abs(expected - loss) < 0.05 * loss + 3.9 * loss_spread, (expected, loss)
    assert loss - rate > 3 * abs(expected - loss), "the variance hardly counts"
    # Sabotage: the last layer alone, on the path that the rate network hands it.
    handed_on = rl.simulate(network, increments, grid, rl.GeneralisedRate())
    last = rl.Network(network.layers[-1:], network.output_tau_m)
    alone = float(rl.expected_error(last, handed_on.increments[1], grid, burn_in=100))
    assert alone < error - 2 * tolerance


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 3])
def test_predicts_the_error_of_a_large_network_within_three_percent(depth):
    """Relay network of 4096 neurons, p = 10; standard errors of both sides are about 1%."""
    network = relay(4096, depth, 10, rl.SRM0(), jnp.float32)
    grid, increments = rl.TimeGrid(0.5e-3, 1600), white_noise(1600, 10, 0.5e-3)
    (error, _), _ = measured(network, increments, grid, 400, 12)
    key = jax.random.key(0)
    prediction = rl.expected_error(network, increments, grid, burn_in=400, key=key)
    assert abs(prediction / error - 1.0) < 0.03, (prediction, error)


def test_loss_of_one_layer_is_rate_loss_plus_variance():
    network, grid, increments = relay(30, 1), rl.TimeGrid(1e-3, 60), white_noise(60)
    target = np.random.default_rng(0).normal(size=(60, 4))
    variance = rl.readout_variance(network.layers[0], increments, grid)[10:].mean()
    arguments = (network, increments, grid, target)
    rate = rl.rate_loss(*arguments, burn_in=10)
    outputs = rl.simulate(network, increments, grid, rl.GeneralisedRate()).outputs
    np.testing.assert_allclose(rate, np.mean((outputs - target)[10:] ** 2), rtol=1e-12)
    expected = rl.expected_spiking_loss(*arguments, burn_in=10)
    np.testing.assert_allclose(expected, rate + variance, rtol=1e-12)


def test_loss_of_two_layers_is_rate_loss_plus_variance_plus_mean_square_of_the_probes():
    """The square of the mean of two probes would be about half of the mean of their squares."""
    grid, key = rl.TimeGrid(1e-3, 24), jax.random.key(5)
    increments, target = white_noise(24, 1), np.random.default_rng(0).normal(size=(24, 1))  # fmt: skip
    neuron = rl.SRM0(3e-3, rl.ExponentialEscape(40.0), rl.NoRefractory())
    network = rl.Network([rl.Layer(neuron, [[8.0]], [[2e-3]], 1.0) for _ in range(2)])
    rate = rl.simulate(network, increments, grid, rl.GeneralisedRate()).outputs
    path = rl.GridPath(increments, grid)
    fluctuations = output_fluctuations(network, path, grid, key, 2, [EXACT] * 2, None)
    own, probes = np.asarray(fluctuations.own), np.asarray(fluctuations.passed_on)
    squares = np.mean(probes[10:] ** 2)
    assert squares > 0.1 * own[10:].mean()
    exact = np.mean((np.asarray(rate) - target)[10:] ** 2) + own[10:].mean() + squares
    expected = rl.expected_spiking_loss(
        network, increments, grid, target, burn_in=10, num_probes=2, key=key
    )
    np.testing.assert_allclose(expected, exact, rtol=1e-10)


def test_same_key_same_prediction():
    network, grid, increments = relay(70, 2), rl.TimeGrid(1e-3, 9), white_noise(9)

    def predict(seed):
        key = jax.random.key(seed)
        return rl.expected_error(network, increments, grid, num_probes=1, key=key)

    assert predict(0) == predict(0)
    assert predict(0) != predict(1)
    np.testing.assert_allclose(jax.jit(lambda: predict(0))(), predict(0), rtol=1e-12)


def test_arguments_are_checked():
    network, grid, increments = relay(3, 2), rl.TimeGrid(1e-3, 5), white_noise(5)
    predict = rl.expected_error
    with pytest.raises(ValueError, match=r"network must be a ratelike\.Network"):
        predict(network.layers[0], increments, grid)
    with pytest.raises(ValueError, match=r"burn_in must be less than .* 5, got 5"):
        predict(network, increments, grid, burn_in=5)
    with pytest.raises(ValueError, match=r"num_probes must be .* at least 1, got 0"):
        predict(network, increments, grid, num_probes=0)
    with pytest.raises(ValueError, match="mesh must be an instance of Mesh"):
        predict(network, increments, grid, mesh=2)
    with pytest.raises(ValueError, match=r"response must be .* got <class"):
        predict(network, increments, grid, response=rl.LinearResponse)
    target = np.zeros((5, 4))
    for call in (predict, partial(rl.expected_spiking_loss, target=target)):
        with pytest.raises(ValueError, match=r"key must be .* random key, got None"):
            call(network, increments, grid)
    with pytest.raises(ValueError, match="key must be a typed JAX random key"):
        predict(network, increments, grid, key=jax.random.PRNGKey(0))
    spiking_loss = partial(rl.expected_spiking_loss, key=jax.random.key(0))
    for loss in (rl.rate_loss, spiking_loss):
        with pytest.raises(ValueError, match=r"target must have shape \(5, 4\)"):
            loss(network, increments, grid, np.zeros((4, 4)))
        with pytest.raises(ValueError, match=r"target must be finite, got nan"):
            loss(network, increments, grid, np.full((5, 4), np.nan))
        with pytest.raises(ValueError, match="burn_in"):
            loss(network, increments, grid, np.zeros((5, 4)), burn_in=-1)
    with pytest.raises(ValueError, match="dynamics must be an instance of Generalised"):
        rl.rate_loss(network, increments, grid, np.zeros((5, 4)), dynamics=rl.Spiking())
