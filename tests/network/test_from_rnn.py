"""A trained rate network as a layer: against the rate network in NumPy, and what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

pytestmark = pytest.mark.usefixtures("any_ranks")

UNITS, TAU, DT, STEPS = 12, 20e-3, 0.5e-3, 240
NEURON = rl.SRM0(
    TAU,
    rl.SigmoidEscape(rate=120.0),
    rl.ExponentialRefractory(4.0, 10e-3, dead_time=2e-3, memory=20e-3),
)
generator = np.random.default_rng(0)
# Of rank three, with a diagonal and rows whose sums are not zero, which the base of a rate passes through.
J = generator.normal(0.3, 1.0, (UNITS, 3)) @ generator.normal(size=(3, UNITS)) / UNITS
W = generator.normal(size=(UNITS, 2))
V = generator.normal(0.2, 1.0, (2, UNITS))
B = generator.normal(0.1, 0.3, UNITS)
SIGNAL = np.sin(2 * np.pi * np.outer(np.arange(STEPS) * DT, [9.0, 14.0]))


def rate(x, shift=1.5):
    """Of the neuron: a nonlinearity that it follows exactly."""
    potential = jnp.asarray(np.atleast_1d(shift + 2.0 * x))
    return np.asarray(rl.stationary_rate(NEURON, potential, 5e-5))


def single(x):
    return rate(x) / 30.0 - 0.7


def odd(x):
    return (rate(x) - rate(-x)) / 30.0


def rnn(phi, base):
    """tau dx/dt = -x + J phi(x) + W u + b and tau dz/dt = -z + V phi(x), by Heun's method,

    from where x rests while no neuron is heard.
    """

    def slope(state, u):
        x, z = state[:UNITS], state[UNITS:]
        r = phi(x)
        return np.concatenate([J @ r + W @ u + B - x, V @ r - z]) / TAU

    state, rows = np.concatenate([B - base * J.sum(axis=1), np.zeros(2)]), []
    for u in SIGNAL:
        first = slope(state, u)
        state = state + 0.5 * DT * (first + slope(state + DT * first, u))
        rows.append(state)
    rows = np.array(rows)
    return rows[:, :UNITS], rows[:, UNITS:]


@pytest.mark.parametrize(
    ("phi", "base", "pairs"), [(single, 0.7, False), (odd, 0.0, True)]
)
def test_the_conventional_rate_is_the_trained_network(phi, base, pairs):
    activations, expected = rnn(phi, base)
    converted = rl.from_rnn(
        NEURON, J, W, V, B, nonlinearity=phi, activations=activations, rank=3, copies=2, pairs=pairs
    )  # fmt: skip
    assert converted.rate_error < 1e-3
    assert converted.rank_error < 1e-6
    assert converted.network.layers[0].num_neurons == UNITS * 2 * (1 + pairs)
    # Of the first order in the delay of a step, which is half as long on a finer grid: what is left is of the second.
    coarse, fine = (outputs(converted, parts) for parts in (1, 2))
    largest = np.abs(expected).max()
    first_order = np.abs(coarse - expected).max() / largest
    assert first_order < DT / TAU
    error = np.abs(2.0 * fine - coarse - expected).max() / largest
    assert error < (DT / TAU) ** 2


def outputs(converted, parts):
    """z at the ends of the coarse steps."""
    grid = rl.TimeGrid(DT / parts, STEPS * parts)
    increments = jnp.asarray(np.repeat(SIGNAL, parts, axis=0) * grid.dt)
    run = rl.simulate(converted.network, increments, grid, rl.ConventionalRate())
    # The output begins at 0, and z - offset does not: it is forgotten with the membrane's time constant.
    start = np.exp(-np.asarray(grid.times[1:]) / TAU)[:, None] * converted.offset
    return (np.asarray(run.outputs) - converted.offset + start)[parts - 1 :: parts]


def test_what_cannot_be_converted_is_refused():
    given: Any = dict(nonlinearity=np.tanh, activations=np.linspace(-1, 1, 9), rank=3)

    def refused(match, *arrays, **changes):
        with pytest.raises(ValueError, match=match):
            rl.from_rnn(*arrays, **{**given, **changes})

    refused(r"recurrent must have shape \(12, 12\)", NEURON, J[:, :5], W, V)
    refused(r"input must have shape", NEURON, J, W[:4], V)
    refused(r"output must have shape", NEURON, J, W, V.T)
    refused(r"bias must have shape", NEURON, J, W, V, B[:3])
    refused("rank must be at most 12", NEURON, J, W, V, rank=13)
    refused("nonlinearity must vary", NEURON, J, W, V, activations=np.ones(3))
    refused("nonlinearity must rise", NEURON, J, W, V, nonlinearity=lambda x: -x)
    other = rl.SRM0(tau_m=np.full(UNITS, TAU))
    refused("neuron must be the same for all units", other, J, W, V)

    def traced(weights):
        return rl.from_rnn(NEURON, weights, W, V, **given).network

    with pytest.raises(ValueError, match="recurrent must be concrete"):
        jax.jit(traced)(jnp.asarray(J))
