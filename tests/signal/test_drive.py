"""Drives: one path at every time step, with the right law."""

import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl


def wiener(num_latents=3, seed=0):
    return rl.WienerDrive(num_latents, tau_m=10e-3, key=jax.random.key(seed))


@pytest.mark.parametrize("dt", [1e-3, 0.7e-3, 1 / 1024])
def test_halving_dt_refines_the_same_path(dt):
    num_steps = round(2.5 / dt)  # crosses two full seconds
    coarse = wiener().increments(rl.TimeGrid(dt, num_steps))
    fine = wiener().increments(rl.TimeGrid(dt / 2, 2 * num_steps))
    together = fine.reshape(num_steps, 2, 3).sum(axis=1)
    np.testing.assert_allclose(together, coarse, rtol=0, atol=1e-12)


def test_a_longer_run_extends_the_path():
    short = wiener().increments(rl.TimeGrid(1e-3, 700))
    long = wiener().increments(rl.TimeGrid(1e-3, 1500))
    np.testing.assert_array_equal(short, long[:700])


def test_increments_are_white_with_unit_variance_behind_the_membrane():
    """120 000 samples: standard error of a variance ratio 0.4%, of a correlation 0.3%; bounds at four of them."""
    dt, tau_m = 0.5e-3, 10e-3
    increments = np.asarray(wiener(10).increments(rl.TimeGrid(dt, 12_000)))
    assert abs(np.var(increments) / (2 * tau_m * dt) - 1.0) < 0.016
    standard = increments / np.sqrt(2 * tau_m * dt)
    assert abs(np.mean(standard[1:] * standard[:-1])) < 0.012
    # The largest of 120 000 normal numbers; also where a step crosses a full second. False-positive rate 2 * 10^-4.
    assert np.abs(standard).max() < 6.0
    assert abs(np.mean(standard[:, 0] * standard[:, 1])) < 0.04
    a = np.exp(-dt / tau_m)
    trace, variance = np.zeros(10), []
    for dX in increments:
        trace = a * trace + (1 - a) / dt * dX
        variance.append(trace**2)
    # 6 s are 300 independent samples of each of 10 traces: standard error 2.6%.
    assert abs(np.mean(variance[200:]) - 1.0) < 0.1


def test_seconds_are_independent():
    """Correlations of 10 000 pairs of increments within 4.5 standard errors (false-positive rate about 10^-5 each)."""
    increments = np.asarray(wiener(10).increments(rl.TimeGrid(1e-3, 4000)))
    seconds = increments.reshape(4, -1) / increments.std()
    for one, other in itertools.combinations(seconds, 2):
        assert abs(np.mean(one * other)) * np.sqrt(one.size) < 4.5


def test_keys_and_latents_are_independent():
    grid = rl.TimeGrid(1e-3, 10)
    assert not np.allclose(wiener(3, 0).increments(grid), wiener(3, 1).increments(grid))


@pytest.mark.slow
def test_a_path_a_drive_and_their_increments_are_the_same_input():
    grid = rl.TimeGrid(1e-3, 50)
    network = rl.relay_network(
        rl.SRM0(), num_neurons=10, num_latents=3, depth=2, key=jax.random.key(0)
    )
    drive = wiener()
    a = rl.simulate(network, drive, grid, rl.GeneralisedRate())
    b = rl.simulate(network, drive.increments(grid), grid, rl.GeneralisedRate())
    np.testing.assert_array_equal(a.outputs, b.outputs)
    ts = jnp.linspace(0.0, 0.05, 26)
    values = 0.1 * np.sin(200 * np.asarray(ts)[:, None] * np.arange(3.0))
    path = diffrax.LinearInterpolation(ts, jnp.asarray(values))
    on_grid = jax.vmap(path.evaluate)(
        jnp.asarray(grid.times[:-1]), jnp.asarray(grid.times[1:])
    )
    for dynamics in (rl.GeneralisedRate(), rl.ConventionalRate(), rl.Spiking()):
        key = jax.random.key(1)
        c = rl.simulate(network, path, grid, dynamics, key=key)
        d = rl.simulate(network, on_grid, grid, dynamics, key=key)
        np.testing.assert_allclose(c.outputs, d.outputs, rtol=0, atol=1e-12)


def test_grid_path_is_piecewise_linear():
    grid = rl.TimeGrid(1e-3, 3)
    path = rl.GridPath(jnp.asarray([[1.0], [2.0], [4.0]]), grid)
    assert float(path.evaluate(1e-3, 2e-3)[0]) == 2.0
    np.testing.assert_allclose(path.evaluate(1e-3, 1.5e-3), [1.0])
    np.testing.assert_allclose(path.derivative(2e-3), [4000.0])
    np.testing.assert_allclose(path.derivative(1.9e-3), [2000.0])


def test_outputs_are_the_filtered_increments():
    grid = rl.TimeGrid(1e-3, 30)
    network = rl.relay_network(
        rl.SRM0(), num_neurons=10, num_latents=3, depth=2, key=jax.random.key(0)
    )
    trajectory = rl.simulate(network, wiener(), grid, rl.GeneralisedRate())
    a = np.exp(-0.1)
    y = np.zeros(3)
    for n in range(30):
        y = a * y + (1 - a) / 1e-3 * np.asarray(trajectory.increments[-1][n])
        np.testing.assert_allclose(trajectory.outputs[n], y, rtol=1e-12)
    np.testing.assert_allclose(trajectory.times, np.arange(1, 31) * 1e-3)
    assert trajectory.increments.shape == (2, 30, 3)
    assert trajectory.rates.shape == (2, 30)


def test_output_membranes_have_the_time_constant_of_the_last_layer():
    """The mean over its neurons, where they differ; and another, where one is given."""
    grid, ones = rl.TimeGrid(1e-3, 20), jnp.ones((2, 3))
    layers = [
        rl.Layer(rl.SRM0(tau_m, refractory=rl.NoRefractory()), ones, ones)
        for tau_m in (5e-3, jnp.asarray([10e-3, 30e-3]))
    ]
    for given, tau_m in ((None, 20e-3), (4e-3, 4e-3)):
        network = rl.Network(layers, given)
        trajectory = rl.simulate(network, wiener(), grid, rl.GeneralisedRate())
        a, y = np.exp(-1e-3 / tau_m), np.zeros(3)
        for n in range(20):
            y = a * y + (1 - a) / 1e-3 * np.asarray(trajectory.increments[-1][n])
            np.testing.assert_allclose(trajectory.outputs[n], y, rtol=1e-12)


def test_layers_may_hand_on_another_number_of_latents():
    grid = rl.TimeGrid(1e-3, 10)
    layers = [
        rl.Layer(rl.SRM0(), jnp.ones((5, 3)), jnp.ones((5, 2))),
        rl.Layer(rl.SRM0(), jnp.ones((4, 2)), jnp.ones((4, 1))),
    ]
    trajectory = rl.simulate(rl.Network(layers), wiener(), grid, rl.GeneralisedRate())
    assert [x.shape for x in trajectory.increments] == [(10, 2), (10, 1)]
    assert trajectory.outputs.shape == (10, 1)
    np.testing.assert_allclose(
        rl.Network(layers).weights(0), np.ones((4, 2)) @ np.ones((2, 5)) / 5
    )


def test_times_are_exact_however_long_the_run():
    """In float64 on the host: in float32 they would be uneven by 7% of a step after 100 s, and repeat beyond 2^24 steps."""
    grid = rl.TimeGrid(0.1e-3, 3 * 2**24)
    steps = jnp.zeros((2, 1))
    rest = (steps[None], steps.T, {}, (), jnp.zeros(1, bool), grid)
    run = rl.Trajectory(steps, *rest)
    assert run.times.dtype == np.float64
    assert run.times.shape == (3 * 2**24,)
    np.testing.assert_allclose(np.diff(run.times[-1000:]), 0.1e-3, rtol=1e-7)
    assert run.times[0] == 0.1e-3
    # Also of a batch, under jit.
    batch = jax.jit(jax.vmap(lambda x: rl.Trajectory(x, *rest)))
    np.testing.assert_array_equal(batch(jnp.zeros((3, 2, 1))).times, run.times)
