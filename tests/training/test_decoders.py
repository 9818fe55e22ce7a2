"""Solved decoders against NumPy's least squares, against the closed form, and against spikes."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

GRID = rl.TimeGrid(1e-3, 120)
NETWORK = rl.relay_network(
    rl.SRM0(), num_neurons=30, num_latents=2, depth=2, key=jax.random.key(0)
)
INCREMENTS = rl.WienerDrive(2, key=jax.random.key(1)).increments(GRID)
TARGET = np.random.default_rng(2).normal(size=(120, 3))
RIDGE = np.linspace(100.0, 3000.0, 30)


def solve(network=NETWORK, grid=GRID, target=TARGET, ridge=RIDGE, **arguments):
    return rl.train.solve_decoders(
        network, INCREMENTS, grid, target, ridge=ridge, **arguments
    )


def filtered_rates(network=NETWORK, dynamics=None):
    """kappa * r_j in hertz, by a loop."""
    dynamics = rl.GeneralisedRate() if dynamics is None else dynamics
    last = network.depth - 1
    run = rl.simulate(network, INCREMENTS, GRID, dynamics, record={last: range(30)})
    a = np.exp(-GRID.dt / float(network.output_tau_m))
    trace, traces = 0.0, []
    for expected in np.asarray(run.recordings[last].activity) / GRID.dt:
        trace = a * trace + (1.0 - a) * expected
        traces.append(trace)
    return np.array(traces)


@pytest.mark.parametrize("burn_in", [0, 30])
@pytest.mark.parametrize("ridge", [RIDGE, 800.0])
def test_agrees_with_least_squares_in_numpy(burn_in, ridge):
    solved = solve(ridge=ridge, burn_in=burn_in)
    x = filtered_rates()[burn_in:] / 30
    steps = len(x)
    noise = np.sqrt(np.broadcast_to(ridge, 30)) / 30
    rows = np.concatenate([x / np.sqrt(steps), np.diag(noise)])
    right = np.concatenate([TARGET[burn_in:] / np.sqrt(steps), np.zeros((30, 3))])
    expected = np.linalg.lstsq(rows, right, rcond=None)[0]
    np.testing.assert_allclose(solved.layers[-1].decoder, expected, rtol=1e-8)
    normal = x.T @ x / steps + np.diag(noise**2)
    closed = np.linalg.solve(normal, x.T @ TARGET[burn_in:] / steps)
    np.testing.assert_allclose(solved.layers[-1].decoder, closed, rtol=1e-6)


def test_nothing_but_the_last_decoder_changes_and_the_outputs_come_closest():
    solved = solve()
    kept = eqx.tree_at(
        lambda n: n.layers[-1].decoder, solved, NETWORK.layers[-1].decoder
    )
    assert eqx.tree_equal(kept, NETWORK)
    outputs = rl.simulate(solved, INCREMENTS, GRID, rl.GeneralisedRate()).outputs
    x = filtered_rates() / 30
    decoder = np.asarray(solved.layers[-1].decoder)
    np.testing.assert_allclose(outputs, x @ decoder, atol=1e-10 * np.abs(outputs).max())

    # The mean over steps: the cost of the docstring, lower than that of any decoder nearby.
    def cost(decoder):
        penalty = np.sum(RIDGE[:, None] * decoder**2) / 30**2
        return np.mean(np.sum((x @ decoder - TARGET) ** 2, axis=1)) + penalty

    generator = np.random.default_rng(4)
    for size in (1e-3, 1.0):
        nearby = decoder * (1.0 + size * generator.normal(size=decoder.shape))
        assert cost(decoder) < cost(nearby)


@pytest.mark.slow
def test_conventional_rates_are_decoded_alike():
    dynamics = rl.ConventionalRate()
    solved = solve(dynamics=dynamics)
    x = filtered_rates(dynamics=dynamics) / 30
    normal = x.T @ x / 120 + np.diag(RIDGE / 900)
    closed = np.linalg.solve(normal, x.T @ TARGET / 120)
    np.testing.assert_allclose(solved.layers[-1].decoder, closed, rtol=1e-6)


def test_the_variance_of_spike_trains_is_the_ridge_that_spikes_want():
    """Expected squared errors of the spiking network, from 2000 trials: the true variance beats ten times more or less.

    Each error is known to a relative 1 / sqrt(2000 x 100); the differences are several per cent.
    """
    network = rl.Network(NETWORK.layers[:1])
    target = np.asarray(rl.membrane_traces(INCREMENTS, network.output_tau_m, GRID.dt))
    target = target[:, :1] * target[:, 1:]

    def filtered_spikes(key):
        run = rl.simulate(
            network, INCREMENTS, GRID, rl.Spiking(), key=key, record={0: range(30)}
        )
        return rl.membrane_traces(
            run.recordings[0].activity, network.output_tau_m, GRID.dt
        )

    keys = jax.random.split(jax.random.key(3), 2000)
    x = np.asarray(jax.jit(jax.vmap(filtered_spikes))(keys))
    variance = x.var(axis=0).mean(axis=0)
    # A Poisson neuron's is rate / (2 tau_m), a refractory one's less.
    poisson = x.mean(axis=(0, 1)) / (2.0 * float(network.output_tau_m))
    assert np.all(variance < poisson)
    assert np.median(variance / poisson) > 0.3

    def spiking_error(ridge):
        decoder = solve(network, target=target, ridge=ridge).layers[0].decoder
        return np.mean((x @ np.asarray(decoder) / 30 - target) ** 2)

    errors = [spiking_error(factor * variance) for factor in (0.1, 1.0, 10.0)]
    assert errors[1] < 0.99 * errors[0]
    assert errors[1] < 0.99 * errors[2]


def test_float32_agrees_and_the_derivative_is_that_of_the_solution():
    single = jax.tree.map(lambda x: x.astype(jnp.float32), NETWORK)
    rounded = solve(single).layers[-1].decoder
    exact = solve().layers[-1].decoder
    assert rounded.dtype == jnp.float32
    # Rounding of the features, 10^-5, times the condition number of the rows, about 100.
    np.testing.assert_allclose(rounded, exact, atol=2e-3 * np.abs(exact).max())

    def total(ridge):
        return jnp.sum(solve(ridge=ridge).layers[-1].decoder ** 2)

    slope = jax.grad(total)(jnp.asarray(500.0))
    step = 1e-2
    central = (total(500.0 + step) - total(500.0 - step)) / (2.0 * step)
    np.testing.assert_allclose(slope, central, rtol=1e-6)


BAD = {
    "network must be an instance of Network": dict(network=NETWORK.layers[0]),
    "grid must be an instance of TimeGrid": dict(grid=1e-3),
    "target must have shape (120, latents_out), got shape (119, 3)": dict(
        target=TARGET[1:]
    ),
    "target must be finite, got nan at index (0, 0)": dict(target=TARGET * np.nan),
    "ridge must be finite and greater than 0, got 0.0": dict(ridge=0.0),
    "ridge must have shape (30), got shape (3,)": dict(ridge=[1.0, 2.0, 3.0]),
    "burn_in must be less than the number of steps, 120, got 120": dict(burn_in=120),
    "dynamics must be an instance of AbstractDynamics": dict(dynamics=rl.Spiking),
    "dynamics must be a rate, got Spiking(": dict(dynamics=rl.Spiking()),
}


@pytest.mark.parametrize(("message", "case"), BAD.items(), ids=list(BAD))
def test_bad_arguments(message, case):
    with pytest.raises(ValueError, match=re.escape(message)):
        solve(**case)
