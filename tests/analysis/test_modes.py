"""Linear response and modes, against the one-step map of the whole network written out.

The reference knows the matrix of weights J and the density of every neuron, and differentiates one step of both; it knows
nothing of generating functions, of latents of feedback, and of z.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import ratelike as rl
from ratelike._neuron._settled import settled_ages

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

DT, NEURONS, AGES, DELAY = 1e-3, 8, 12, 2
ESCAPE = rl.ExponentialEscape(60.0)
INPUT = np.array([0.3, -0.2])
NEURON = {
    "SRM0": lambda: rl.SRM0(
        10e-3, ESCAPE, rl.ExponentialRefractory(3.0, 6e-3, 2e-3, AGES * DT)
    ),
    # Its mark travels with the age, and is averaged in the last bin.
    "LIF": lambda: rl.LIF(5e-3, ESCAPE, -1.0, 2e-3, AGES * DT),
}


def layer(kind, weight, synapse=None, second=None, scale=1.0):
    generator = np.random.default_rng(0)

    def normal(columns):
        return generator.normal(size=(NEURONS, columns))

    encoder, decoder = normal(2), weight * normal(2)
    feedback = [rl.Feedback(scale * encoder, decoder, DELAY * DT, synapse=synapse)]
    if second is not None:
        feedback.append(
            rl.Feedback(normal(1), weight * normal(1), 4 * DT, True, synapse=second)
        )
    bias = 0.5 * normal(1)[:, 0]
    return rl.Layer(NEURON[kind](), normal(2), 0.05 * normal(3), bias, feedback)


def jacobians(layer, at):
    """Of one step: of the state and of the signal out, by the state and by the signal in."""
    neuron, weights = layer.neuron, layer.feedback[0].weights
    ages = DT * jnp.arange(1.0, AGES + 1.0)
    part = jnp.where(ages > 1.001 * neuron.dead_time, 1.0, 0.5)
    part = jnp.where(ages < 0.999 * neuron.dead_time, 0.0, part).at[-1].set(1.0)
    leak = jnp.exp(-DT / neuron.tau_m)
    is_lif = isinstance(neuron, rl.LIF)

    def step(state, signal):
        potential, mass, mark, queue = state
        current = queue[0] + layer.encoder @ signal * DT
        end = layer.bias + leak * (potential - layer.bias) + (1.0 - leak) / DT * current
        acting = jnp.log(0.5 * (jnp.exp(potential) + jnp.exp(end)))
        if is_lif:
            offset = (neuron.v_reset - mark) * jnp.exp(-ages / neuron.tau_m)[:, None]
        else:
            offset = -3.0 * jnp.exp(-ages / 6e-3)[:, None]
        hazard = 60.0 * jnp.exp(acting + offset) * part[:, None]
        fires = 1.0 - jnp.exp(-DT * hazard)
        activity = jnp.sum(fires * mass, axis=0)
        stay = (1.0 - fires) * mass
        last = stay[-2] + stay[-1]
        mass = jnp.concatenate([activity[None], stay[:-2], last[None]])
        if is_lif:
            mean = (stay[-2] * mark[-2] + stay[-1] * mark[-1]) / last
            mark = jnp.concatenate([acting[None], mark[:-2], mean[None]])
        queue = jnp.concatenate([queue[1:], (weights @ activity)[None]])
        return (end, mass, mark, queue), layer.decoder.T @ activity / NEURONS / DT

    potential = at.potentials[0]
    mass = settled_ages(neuron, potential, DT)
    queue = jnp.tile(weights @ (at.rates[0] * DT), (DELAY, 1))
    state = (potential, mass, jnp.broadcast_to(potential, mass.shape), queue)
    flat, unflatten = ravel_pytree(state)

    def both(flat, signal):
        after, out = step(unflatten(flat), signal)
        return ravel_pytree(after)[0], out

    after, _ = both(flat, at.input)
    np.testing.assert_allclose(after, flat, atol=1e-12)
    of = jax.jit(lambda flat, signal: jax.jacfwd(both, (0, 1))(flat, signal))
    (own, driven), (read, direct) = of(flat, at.input)
    return tuple(np.asarray(each) for each in (own, driven, read, direct))


@pytest.mark.parametrize("kind", ["LIF", pytest.param("SRM0", marks=pytest.mark.slow)])
def test_gain_and_modes_are_those_of_the_one_step_map(kind):
    given = layer(kind, 0.1)
    at = rl.analysis.stationary_state(given, INPUT, dt=DT)
    own, driven, read, direct = jacobians(given, at)
    frequencies = np.array([3.0, 50.0, 170.0, 420.0])
    gains = rl.analysis.transfer_function(given, frequencies, at=at)
    for frequency, gain in zip(frequencies, gains, strict=True):
        rows = np.exp(2j * np.pi * frequency * DT) * np.eye(len(own)) - own
        expected = read @ np.linalg.solve(rows, driven) + direct
        np.testing.assert_allclose(gain, expected, atol=1e-11 * np.abs(expected).max())
    modes = rl.analysis.stability(given, at=at)
    eigenvalues = np.linalg.eigvals(own)
    assert modes.is_certain
    # Each density has an eigenvalue of 1, of its total mass, which does not move.
    assert modes.num_growing == np.sum(np.abs(eigenvalues) > 1.0 + 1e-6)
    assert len(modes.exponents) >= 3
    for mode in np.exp(np.asarray(modes.exponents)):
        assert np.abs(eigenvalues - mode).min() < 1e-6


def test_synapses_and_several_feedbacks_by_a_small_sinusoid():
    given = layer("SRM0", 0.01, rl.ExponentialSynapse(5e-3), rl.AlphaSynapse(4e-3))
    network = rl.Network([given])
    at = rl.analysis.stationary_state(network, INPUT, dt=DT)
    gain = rl.analysis.transfer_function(network, np.array([0.0, 50.0]), at=at)
    # The static gain is the derivative of the stationary signals.
    ends = [
        rl.analysis.stationary_state(
            network, INPUT + np.array([part, 0.0]), dt=DT
        ).signals[0]
        for part in (-1e-4, 1e-4)
    ]
    slope = (ends[1] - ends[0]) / 2e-4
    np.testing.assert_allclose(gain[0][:, 0].real, slope, rtol=1e-6)
    # 20 periods of 20 steps, of which all but the last 5 settle.
    size, steps = 1e-5, 400
    wave = np.exp(2j * np.pi * 50.0 * DT * np.arange(steps))
    signal = INPUT + size * np.outer(wave.real, [1.0, 0.0])
    grid = rl.TimeGrid(DT, steps)
    run = rl.simulate(
        network, signal * DT, grid, rl.GeneralisedRate(), initial=at.state(network)
    )
    out = np.asarray(run.increments[0])[-100:] / DT
    found = (
        2.0 / (100 * size) * np.conj(wave[-100:]) @ (out - np.asarray(at.signals[0]))
    )
    # Second harmonics are of the order of `size`.
    np.testing.assert_allclose(found, gain[1][:, 0], rtol=1e-4)


@pytest.mark.slow
def test_growth_is_that_of_a_simulation():
    """Negative feedback that oscillates: a kick grows as the leading mode says."""
    generator = np.random.default_rng(1)
    rows = 1.0 + 0.1 * generator.normal(size=(NEURONS, 1))
    neuron = rl.SRM0(
        10e-3, ESCAPE, rl.ExponentialRefractory(3.0, 6e-3, 2e-3, AGES * DT)
    )
    feedback = rl.Feedback(-0.35 * rows, rows, 5e-3, True)
    given = rl.Layer(neuron, rows, rows, 3.0, feedback)
    network = rl.Network([given])
    at = rl.analysis.stationary_state(network, np.zeros(1), dt=DT)
    modes = rl.analysis.stability(network, at=at)
    assert modes.num_growing == 2
    assert modes.kind == "Hopf"
    kick = np.zeros((300, 1))
    kick[0] = 1e-9
    run = rl.simulate(
        network,
        kick,
        rl.TimeGrid(DT, 300),
        rl.GeneralisedRate(),
        initial=at.state(network),
    )
    away = np.asarray(run.increments[0])[:, 0] / DT - float(at.signals[0][0])
    # A mode and its conjugate: x[n+2] = 2 Re(z) x[n+1] - |z|^2 x[n].
    late = away[100:200]
    rows = np.stack([late[1:-1], -late[:-2]], axis=1)
    (twice, square), *_ = np.linalg.lstsq(rows, late[2:])
    z = np.exp(complex(modes.exponents[0]))
    np.testing.assert_allclose([twice, square], [2.0 * z.real, abs(z) ** 2], rtol=1e-3)
    with pytest.raises(ValueError, match="at must be stable for a spectrum"):
        rl.analysis.spectrum(network, [1.0], at=at)


@pytest.mark.slow
def test_gradients_are_finite_differences():
    given = layer("LIF", 0.1)
    at = rl.analysis.stationary_state(given, INPUT, dt=DT)
    mode = rl.analysis.stability(given, at=at).exponents[0]

    def of(values):
        scale, rate = values
        changed = eqx.tree_at(
            lambda one: (one.feedback[0].encoder, one.neuron.escape.rate),
            given,
            (scale * given.feedback[0].encoder, rate),
        )
        at = rl.analysis.stationary_state(changed, INPUT, dt=DT)
        growth, _ = rl.analysis.stability_margin(changed, at=at, mode=mode)
        gain = rl.analysis.transfer_function(changed, np.array([80.0]), at=at)
        return growth + 1e3 * jnp.abs(gain[0, 0, 0])

    values, step = jnp.array([1.0, 60.0]), 1e-5
    both = jax.jit(jax.value_and_grad(of))
    gradient = both(values)[1]
    for index, unit in enumerate(np.eye(2)):
        apart = step * np.asarray(values) * unit
        ends = both(values + apart)[0], both(values - apart)[0]
        slope = (ends[0] - ends[1]) / (2.0 * apart[index])
        np.testing.assert_allclose(gradient[index], slope, rtol=1e-5)
