"""Fluctuations through feedback: against a dense calculation in NumPy that knows no probes, and against spikes.

The reference has the matrix of weights J and the derivatives of the rates by the currents written out, and the
covariance of the spikes given the currents from all spike trains one by one.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._fluctuations import _block
from ratelike._fluctuations._block import Noise
from ratelike._fluctuations._loop_probes import loop_fluctuations
from tests.oracles import networks

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

DT, NUM_STEPS, TAU_M, TAU_SYNAPSE = 1e-3, 7, 4e-3, 3e-3
GRID = rl.TimeGrid(DT, NUM_STEPS)
NEURONS, LATENTS = 3, 2
AMPLITUDE, TAU, DEAD_STEPS, OLDEST = 2.0, 3e-3, 1, 4
EXACT = rl.AgeMesh.uniform()
NEURON = rl.SRM0(
    TAU_M,
    rl.ExponentialEscape(150.0),
    rl.ExponentialRefractory(AMPLITUDE, TAU, DEAD_STEPS * DT, OLDEST * DT),
)


def random_layer():
    """Strong feedback: with a delay of two steps and a synapse, and with one step and connections to itself."""
    generator = np.random.default_rng(0)

    def normal(columns, size):
        return size * generator.normal(size=(NEURONS, columns))

    slow = rl.Feedback(
        normal(2, 3.0), normal(2, 0.01), 2e-3, synapse=rl.ExponentialSynapse(TAU_SYNAPSE)
    )  # fmt: skip
    fast = rl.Feedback(normal(1, 3.0), normal(1, 0.01), self_connection=True)
    encoder, decoder = normal(LATENTS, 1.0), normal(LATENTS, 0.05)
    bias = 0.5 * generator.normal(size=NEURONS)
    return rl.Layer(NEURON, encoder, decoder, bias, [slow, fast])


LAYER = random_layer()
INCREMENTS = 0.005 * np.random.default_rng(1).normal(size=(NUM_STEPS, LATENTS))


def shift_matrix(steps):
    return np.eye(NUM_STEPS, k=-steps)


def synapse_matrix():
    """Column m: what goes out in each step of an increment of one that comes in in step m."""
    decay, out = np.exp(-DT / TAU_SYNAPSE), np.zeros((NUM_STEPS, NUM_STEPS))
    for m in range(NUM_STEPS):
        y = 0.0
        for n in range(NUM_STEPS):
            x = (n == m) / DT
            out[n, m] = x * DT + (y - x) * TAU_SYNAPSE * (1.0 - decay)
            y = x + (y - x) * decay
    return out


def loop_matrix():
    """From the activities of all steps and neurons to the currents that they cause."""
    in_time = [shift_matrix(2) @ synapse_matrix(), shift_matrix(1)]
    weights = [np.asarray(each.weights) for each in LAYER.feedback]
    return sum(np.kron(*both) for both in zip(in_time, weights, strict=True))


def probabilities(currents):
    """Of a spike in each step at each age, (time, ages, neurons)."""
    a, bias = np.exp(-DT / TAU_M), np.asarray(LAYER.bias)
    h = [bias]
    for current in currents.reshape(NUM_STEPS, NEURONS):
        h.append(bias + a * (h[-1] - bias) + (1.0 - a) / DT * current)
    f = 150.0 * np.exp(np.array(h))
    f = 0.5 * (f[:-1] + f[1:])
    age = np.arange(1, OLDEST + 1)[:, None]
    factor = np.exp(-AMPLITUDE * np.exp(-age * DT / TAU))
    factor = factor * (0.5 * (age >= DEAD_STEPS) + 0.5 * (age > DEAD_STEPS))
    return -np.expm1(-DT * f[:, None] * factor)


def rates(currents):
    """Expected spikes of each step and neuron, flat."""
    share, out = np.zeros((OLDEST, NEURONS)), []
    share[-1] = 1.0
    for p in probabilities(currents):
        fired, stay = (p * share).sum(axis=0), (1.0 - p) * share
        share = np.vstack([fired, stay[:-1]])
        share[-1] += stay[-1]
        out.append(fired)
    return np.ravel(out)


def covariance_of_spikes(currents):
    """Of independent neurons, by the probability of each of the 2^T spike trains."""
    p = probabilities(currents)
    total = np.zeros((NUM_STEPS, NEURONS, NUM_STEPS, NEURONS))
    for neuron in range(NEURONS):
        mean, square = np.zeros(NUM_STEPS), np.zeros((NUM_STEPS, NUM_STEPS))
        for train in itertools.product((0.0, 1.0), repeat=NUM_STEPS):
            age, chance = OLDEST - 1, 1.0
            for n, spike in enumerate(train):
                own = p[n, age, neuron]
                chance *= own if spike else 1.0 - own
                age = 0 if spike else min(age + 1, OLDEST - 1)
            mean += chance * np.array(train)
            square += chance * np.outer(train, train)
        total[:, neuron, :, neuron] = square - np.outer(mean, mean)
    return total.reshape(NUM_STEPS * NEURONS, -1)


def linear_noise():
    """Increments of the rate network; covariance of those of spikes; and their answers to increments that come in."""
    size = NUM_STEPS * NEURONS
    encode = np.kron(np.eye(NUM_STEPS), LAYER.encoder)
    decode = np.kron(np.eye(NUM_STEPS), np.asarray(LAYER.decoder).T / NEURONS)
    external, loop = encode @ INCREMENTS.ravel(), loop_matrix()
    activity = np.zeros(size)
    for _ in range(NUM_STEPS):  # each time one more step is right
        activity = rates(external + loop @ activity)
    currents = external + loop @ activity
    changes = 1e-6 * np.eye(size)
    slopes = [(rates(currents + x) - rates(currents - x)) / 2e-6 for x in changes]
    answer = np.stack(slopes, axis=1)
    closed = decode @ np.linalg.inv(np.eye(size) - answer @ loop)
    covariance = closed @ covariance_of_spikes(currents) @ closed.T
    return decode @ activity, covariance, closed @ answer @ encode, (decode, currents)


def test_it_is_the_dense_linear_noise(monkeypatch):
    """The probes are linear in their signs: products of answers to each sign add up to the covariance."""

    def run(signs, perturbation):
        monkeypatch.setattr(
            _block, "random_signs", lambda keys, index, *others: [signs[index]]
        )
        rate, probes, _ = loop_fluctuations(
            LAYER,
            jnp.asarray(INCREMENTS),
            perturbation[:, None],
            GRID,
            noise=Noise(jax.random.key(0), 1),
            age_mesh=EXACT,
        )
        return probes, rate

    nothing = (NUM_STEPS, OLDEST, NEURONS), (NUM_STEPS, LATENTS)
    slopes, rate = jax.jit(jax.jacfwd(run, (0, 1), has_aux=True))(
        *map(jnp.zeros, nothing)
    )
    size = NUM_STEPS * LATENTS
    of_signs, of_input = (np.asarray(each).reshape(size, -1) for each in slopes)
    exact_rate, covariance, answer, (decode, currents) = linear_noise()
    np.testing.assert_allclose(rate.ravel(), exact_rate, rtol=1e-10)
    scale = np.abs(covariance).max()
    np.testing.assert_allclose(
        of_signs @ of_signs.T, covariance, rtol=1e-6, atol=1e-8 * scale
    )
    np.testing.assert_allclose(
        of_input, answer, rtol=1e-6, atol=1e-8 * np.abs(answer).max()
    )
    apart = decode @ covariance_of_spikes(currents) @ decode.T
    assert np.abs(covariance - apart).max() > 0.2 * scale, "the loop hardly counts"


def test_derivatives_by_the_feedback():
    """Of the expected loss, in reverse mode, against central differences; the probes are the same for one key."""
    target = 0.1 * np.random.default_rng(2).normal(size=(NUM_STEPS, LATENTS))
    direction = np.random.default_rng(3).normal(size=(2, NEURONS))

    @jax.jit
    @jax.value_and_grad
    def loss_and_gradient(moved):
        slow = LAYER.feedback[0]
        rows = slow.encoder + moved[0][:, None], slow.decoder + moved[1][:, None]
        slow = rl.Feedback(*rows, slow.delay, synapse=rl.ExponentialSynapse(TAU_SYNAPSE))  # fmt: skip
        layer = rl.Layer(NEURON, LAYER.encoder, LAYER.decoder, LAYER.bias, slow)
        return rl.expected_spiking_loss(
            rl.Network([layer]),
            INCREMENTS,
            GRID,
            target,
            num_probes=1,
            key=jax.random.key(0),
        )

    moved, h = np.array([[0.1], [0.001]]) * direction, 1e-5
    (above, _), (below, _), (_, gradient) = (
        loss_and_gradient(x) for x in (h * moved, -h * moved, 0.0 * moved)
    )
    slope = (above - below) / (2.0 * h)
    np.testing.assert_allclose(np.sum(gradient * moved), slope, rtol=1e-6)


@pytest.mark.slow
def test_predicts_the_error_of_a_stable_inhibitory_loop():
    """Within 3% and 3.9 standard errors of both sides (about 1%); without the loop it would be 1.6 times as large."""
    grid, keys = rl.TimeGrid(1e-3, 400), jax.random.split(jax.random.key(4), 16)
    network = networks.relay(num_neurons=1000, num_latents=4, dtype=jnp.float32)
    increments = networks.white_noise(400)
    (layer,) = network.layers
    feedback = rl.Feedback(layer.encoder, -2.0 * layer.decoder, 2e-3)
    layer = rl.Layer(layer.neuron, layer.encoder, layer.decoder, layer.bias, feedback)
    network = rl.Network([layer])
    rate = rl.simulate(network, increments, grid, rl.GeneralisedRate()).outputs

    def measure(key):
        run = rl.simulate(network, increments, grid, rl.Spiking(), key=key)
        return rl.mean_absolute_error(run.outputs, rate, burn_in=100)

    def predict(key):
        return rl.expected_error(network, increments, grid, burn_in=100, key=key)

    both = [
        np.asarray(jax.jit(lambda k, f=f: jax.lax.map(f, k))(keys))
        for f in (predict, measure)
    ]
    (predicted, measured), spreads = np.transpose(
        [(each.mean(), each.std(ddof=1) / 4.0) for each in both]
    )
    tolerance = 0.03 * measured + 3.9 * np.hypot(*spreads)
    assert np.hypot(*spreads) < 0.015 * measured
    assert abs(predicted - measured) < tolerance, (predicted, measured, spreads)


def test_nonlinear_probes_do_not_run_through_loops():
    with pytest.raises(ValueError, match=r"must be LinearResponse.* has feedback"):
        rl.expected_error(
            rl.Network([LAYER]),
            INCREMENTS,
            GRID,
            key=jax.random.key(0),
            response=rl.NonlinearResponse(),
        )
