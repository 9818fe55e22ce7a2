"""Stationary rates and the conventional network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import ratelike as rl
from ratelike._numerics._exponential import one_minus_exp
from ratelike._signal._membrane import membrane_traces
from tests.oracles import networks, systems

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

POTENTIALS = jnp.asarray([-4.0, -1.0, 0.0, 1.0, 2.5, 5.0])


def test_dead_time_alone_in_discrete_time():
    """Geometric intervals from half a step into the dead time's last: 1/g = dead_time + dt / (2 sinh(f dt / 2))."""
    neuron = rl.SRM0(refractory=rl.ExponentialRefractory(0.0, dead_time=3e-3))
    dt = 0.5e-3
    f = 10.0 * np.exp(POTENTIALS)
    exact = 1.0 / (3e-3 + 0.5 * dt / np.sinh(0.5 * f * dt))
    rate = rl.stationary_rate(neuron, POTENTIALS, dt)
    np.testing.assert_allclose(rate, exact, rtol=1e-12)


def test_dead_time_alone_in_continuous_time():
    """1/g = dead_time + 1/f in the limit; the discrete rate differs by (f dt)^2 / 24, relatively."""
    neuron = rl.SRM0(refractory=rl.ExponentialRefractory(0.0, dead_time=3e-3))
    f = 10.0 * np.exp(POTENTIALS)
    for dt in (1e-4, 1e-5):
        rate = rl.stationary_rate(neuron, POTENTIALS, dt)
        error = np.abs(np.asarray(rate) * (3e-3 + 1.0 / f) - 1.0)
        assert np.all(error < (f * dt) ** 2 / 20.0 + 1e-12)


def test_exponential_recovery_has_a_known_rate():
    """eta = log(1 - exp(-s/tau)), rho = f (1 - exp(-s/tau)): with x = f tau,

    1/g = tau e^x x^(-x) gamma(x, x), the lower incomplete gamma function. Of order 2 in dt.
    """
    tau = 10e-3
    neuron = rl.SRM0(refractory=systems.SaturatingRefractory(tau, memory=0.4))
    h = jnp.asarray([0.0, 1.5, 3.0])
    x = 10.0 * np.exp(h) * tau
    lower_gamma = special.gammainc(x, x) * special.gamma(x)
    exact = 1.0 / (tau * np.exp(x) * x**-x * lower_gamma)

    def rate(dt):
        return np.asarray(rl.stationary_rate(neuron, h, dt))

    errors = np.array([np.abs(rate(dt) - exact).max() for dt in (4e-4, 2e-4, 1e-4)])
    assert errors[-1] < 1e-4 * exact.max()
    assert np.all(errors[:-1] / errors[1:] > 3.0), errors


def test_is_the_fixed_point_of_the_markov_chain_of_ages():
    parameters = dict(rate=30.0, amplitude=4.0, tau=6e-3, dead_time=2e-3, memory=8e-3)
    dt, h = 1e-3, 1.3
    ages = np.arange(1, 9) * dt
    p = np.array(
        [-np.expm1(-dt * systems.srm0_hazard(h, a, **parameters)) for a in ages]
    )
    chain = np.zeros((8, 8))
    chain[0] += p
    for k in range(8):
        chain[min(k + 1, 7), k] += 1.0 - p[k]
    values, vectors = np.linalg.eig(chain)
    stationary = np.real(vectors[:, np.argmin(np.abs(values - 1.0))])
    exact = p @ stationary / stationary.sum() / dt
    neuron = rl.SRM0(
        escape=rl.ExponentialEscape(rate=30.0),
        refractory=rl.ExponentialRefractory(4.0, 6e-3, 2e-3, 8e-3),
    )
    np.testing.assert_allclose(
        rl.stationary_rate(neuron, jnp.asarray([h]), dt), exact, rtol=1e-12
    )


def test_generalised_rate_settles_at_the_stationary_rate():
    neuron = rl.SRM0()
    layer = rl.Layer(neuron, jnp.zeros((6, 1)), jnp.ones((6, 1)), POTENTIALS)
    grid = rl.TimeGrid(0.5e-3, 4000)
    trajectory = rl.simulate(
        rl.Network([layer]),
        jnp.zeros((4000, 1)),
        grid,
        rl.GeneralisedRate(),
        record={0: range(6)},
    )
    settled = trajectory.recordings[0].activity[-1] / grid.dt
    exact = rl.stationary_rate(neuron, POTENTIALS, grid.dt)
    np.testing.assert_allclose(settled, exact, rtol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_rate_and_slope_stay_finite_far_from_threshold(dtype):
    h = jnp.asarray([-1e4, -90.0, -30.0, 30.0, 90.0, 1e4], dtype)
    neuron = jax.tree.map(lambda x: x.astype(dtype), rl.SRM0())
    rate, slope = jax.jvp(
        lambda h: rl.stationary_rate(neuron, h, 0.5e-3), (h,), (jnp.ones_like(h),)
    )
    assert bool(jnp.isfinite(rate).all() and jnp.isfinite(slope).all())
    np.testing.assert_allclose(rate[-2:], 500.0, rtol=1e-4)  # as the dead time allows


def test_firing_probability_in_float32():
    """Relative error below 10^-6 from 10^-30 to saturation, never above 1, derivative exp(-x)."""
    x = np.concatenate([np.logspace(-30, 3, 100_001), [0.0]]).astype(np.float32)
    p = np.asarray(jax.jit(one_minus_exp)(jnp.asarray(x)), dtype=np.float64)
    exact = -np.expm1(-x.astype(np.float64))
    assert np.all(np.abs(p - exact) <= 1e-6 * exact)
    assert p.max() == 1.0
    slope = jax.vmap(jax.grad(one_minus_exp))(jnp.asarray(x))
    np.testing.assert_allclose(slope, np.exp(-x), rtol=0, atol=1e-6)


def relay(neuron, depth=2, num_neurons=96):
    return networks.relay(neuron, num_neurons, 4, depth)


DRIVE = rl.WienerDrive(4, key=jax.random.key(1))


@pytest.mark.slow
def test_without_memory_generalised_and_conventional_are_the_same():
    grid = rl.TimeGrid(0.5e-3, 400)
    network = relay(rl.SRM0(refractory=rl.NoRefractory()))
    generalised = rl.simulate(network, DRIVE, grid, rl.GeneralisedRate())
    conventional = rl.simulate(network, DRIVE, grid, rl.ConventionalRate())
    np.testing.assert_allclose(
        generalised.outputs, conventional.outputs, rtol=0, atol=1e-12
    )
    with_memory = relay(rl.SRM0())
    a = rl.simulate(with_memory, DRIVE, grid, rl.GeneralisedRate()).outputs
    b = rl.simulate(with_memory, DRIVE, grid, rl.ConventionalRate()).outputs
    assert float(jnp.abs(a - b).mean()) > 0.1


@pytest.mark.parametrize(
    ("dtype", "tolerances"),
    [(jnp.float32, (3e-5,) * 3), (jnp.float64, (1e-12, 1e-12, 1e-6))],
)
def test_interpolated_gain_is_the_gain(dtype, tolerances):
    """Geometric convergence in the number of nodes, slower the more escape widths the potentials span (0, 8, 25)."""
    neuron = jax.tree.map(lambda x: x.astype(dtype), rl.SRM0())
    for spread, tolerance in zip((0.0, 1.0, 3.0), tolerances, strict=True):
        h = 1.0 + spread * jax.random.normal(jax.random.key(0), (32, 512), dtype)
        direct = rl.DirectRate()(neuron, h, 0.5e-3)
        interpolated = rl.ChebyshevRate()(neuron, h, 0.5e-3)
        np.testing.assert_allclose(interpolated, direct, rtol=tolerance)


@pytest.mark.slow
def test_gradients_of_the_conventional_network():
    grid = rl.TimeGrid(1e-3, 40)
    increments = DRIVE.increments(grid)

    def loss(values, dynamics):
        bias, amplitude = values
        neuron = rl.SRM0(refractory=rl.ExponentialRefractory(amplitude))
        layers = [
            rl.Layer(neuron, layer.encoder, layer.decoder, bias)
            for layer in relay(rl.SRM0(), num_neurons=24).layers
        ]
        return jnp.sum(
            rl.simulate(rl.Network(layers), increments, grid, dynamics).outputs ** 2
        )

    values = (jnp.asarray(1.0), jnp.asarray(5.0))
    for dynamics in (rl.ConventionalRate(), rl.ConventionalRate(rl.DirectRate())):
        reverse = jax.grad(loss)(values, dynamics)
        for index in range(2):
            direction = tuple(float(i == index) * 1e-5 for i in range(2))
            up, down = (
                loss(
                    tuple(v + s * d for v, d in zip(values, direction, strict=True)),
                    rl.ConventionalRate(rl.DirectRate()),
                )
                for s in (1, -1)
            )
            np.testing.assert_allclose(reverse[index], (up - down) / 2e-5, rtol=1e-5)


def test_relay_networks_hand_on_the_latents_they_receive():
    """Under the static gain, dX_1/dt = kappa * dX_0 up to its nonlinearity: slope 1 to 15%, correlation above 0.95."""
    grid = rl.TimeGrid(0.5e-3, 1600)
    network = jax.tree.map(
        lambda x: x.astype(jnp.float32), relay(rl.SRM0(), depth=1, num_neurons=4096)
    )
    handed_on = rl.simulate(network, DRIVE, grid, rl.ConventionalRate()).increments[0]
    received = membrane_traces(DRIVE.increments(grid), jnp.asarray(10e-3), grid.dt)
    x = np.asarray(received)[200:-1].ravel()
    y = np.asarray(handed_on)[201:].ravel() / grid.dt
    assert abs(x @ y / (x @ x) - 1.0) < 0.15
    assert np.corrcoef(x, y)[0, 1] > 0.95


@pytest.mark.slow
def test_heterogeneous_populations_are_their_neurons_one_by_one():
    rate = jnp.asarray([5.0, 10.0, 20.0])
    amplitude = jnp.asarray([1.0, 3.0, 5.0])
    tau_m = jnp.asarray([5e-3, 10e-3, 20e-3])
    grid = rl.TimeGrid(0.5e-3, 200)
    increments = 0.02 * jax.random.normal(jax.random.key(0), (200, 1))

    def activity(tau_m, rate, amplitude, dynamics, count):
        neuron = rl.SRM0(
            tau_m, rl.ExponentialEscape(rate), rl.ExponentialRefractory(amplitude)
        )
        layer = rl.Layer(neuron, jnp.ones((count, 1)), jnp.ones((count, 1)), 1.0)
        trajectory = rl.simulate(
            rl.Network([layer]), increments, grid, dynamics, record={0: range(count)}
        )
        return trajectory.recordings[0].activity

    for dynamics in (rl.GeneralisedRate(), rl.ConventionalRate(rl.DirectRate())):
        together = activity(tau_m, rate, amplitude, dynamics, 3)
        for i in range(3):
            alone = activity(tau_m[i], rate[i], amplitude[i], dynamics, 1)
            np.testing.assert_allclose(together[:, i], alone[:, 0], rtol=1e-8)
