"""The network of infinitely many neurons: against quadrature in NumPy, and as what finite networks come to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ratelike as rl
from tests.oracles import systems

DT, NUM_STEPS = 1e-3, 40
GRID = rl.TimeGrid(DT, NUM_STEPS)
TAU_M, GAIN, BIAS = 5e-3, 0.8, 0.4
KERNEL = dict(amplitude=3.0, tau=4e-3, dead_time=1e-3, memory=8e-3)
NEURON = rl.SRM0(TAU_M, rl.ExponentialEscape(30.0), rl.ExponentialRefractory(**KERNEL))


def increments(num_latents):
    drive = rl.WienerDrive(num_latents, tau_m=TAU_M, key=jax.random.key(5))
    return np.asarray(drive.increments(GRID))


def infinite(nodes, num_latents=2, depth=1, neuron=NEURON, bias=BIAS, **options):
    return rl.infinite_relay_network(
        neuron,
        num_latents=num_latents,
        depth=depth,
        nodes=nodes,
        gain=GAIN,
        bias=bias,
        **options,
    )


def finite(num_neurons, key, num_latents=2, depth=1):
    return rl.relay_network(
        NEURON,
        num_neurons=num_neurons,
        num_latents=num_latents,
        depth=depth,
        key=key,
        gain=GAIN,
        bias=BIAS,
    )


def run(network, dynamics=None):
    dX = increments(network.layers[0].num_latents)
    dynamics = rl.GeneralisedRate() if dynamics is None else dynamics
    return rl.simulate(network, dX, GRID, dynamics)


def test_one_latent_is_the_integral_over_encoders():
    """By the trapezium rule, which converges geometrically for Gaussian weights."""
    trajectory = run(infinite(rl.GaussHermite(40, 1e-14), num_latents=1))
    layer = finite(8, jax.random.key(0), num_latents=1).layers[0]
    per_encoder = float(layer.decoder[0, 0] / layer.encoder[0, 0])
    x = np.linspace(-7.0, 7.0, 71)
    weights = stats.norm.pdf(x) * (x[1] - x[0])
    bias = np.full(len(x), BIAS)
    h = systems.potentials(GAIN * x[:, None], bias, increments(1), TAU_M, DT)

    def hazard(potential, age):
        return systems.srm0_hazard(potential, age, rate=30.0, **KERNEL)

    activity = np.array(
        [
            systems.activity_by_renewal_equation(each, hazard, DT, KERNEL["memory"])
            for each in h.T
        ]
    )
    handed_on = (weights * per_encoder * GAIN * x) @ activity
    np.testing.assert_allclose(trajectory.increments[0, :, 0], handed_on, atol=1e-7)
    assert np.abs(handed_on).max() > 2e-3
    # What the nodes weigh also enters the mean rate.
    np.testing.assert_allclose(trajectory.rates[0], weights @ activity / DT, rtol=1e-6)


@pytest.mark.slow
def test_converges_with_the_number_of_nodes():
    exact = run(infinite(rl.GaussHermite(16))).outputs

    def error(nodes):
        return float(jnp.max(jnp.abs(run(infinite(nodes)).outputs - exact)))

    product = [error(rl.GaussHermite(n)) for n in (4, 8)]
    assert product[1] < 0.2 * product[0]

    def quasi(num_points):
        keys = map(jax.random.key, range(8))
        errors = [error(rl.QuasiMonteCarlo(num_points, key=key)) for key in keys]
        return np.mean(errors)

    # 1/n for 32 times as many, with a margin of 5; independent points would come to 1/5.7.
    few, many = quasi(32), quasi(1024)
    assert many < few / 6.4
    assert many < 0.01 * float(jnp.max(jnp.abs(exact)))


@pytest.mark.parametrize("num_latents", [1, 5])
def test_quasi_monte_carlo_is_exact_for_what_is_even_or_linear(num_latents):
    nodes = rl.QuasiMonteCarlo(64, key=jax.random.key(1))
    points, weights = nodes(num_latents, 2, 0)
    directions, parameters = points[:, :num_latents], points[:, num_latents:]
    np.testing.assert_allclose(weights, 1 / 64)
    np.testing.assert_allclose(
        directions.T @ directions / 64, np.eye(num_latents), atol=1e-12
    )
    even = np.abs(directions).sum(axis=1) * np.exp(parameters[:, 0])
    np.testing.assert_allclose((weights * even) @ directions, 0.0, atol=1e-14)
    # The parameters are standard normal: their mean to within the spacing of the points, far below 1/sqrt(32).
    np.testing.assert_allclose(parameters.mean(axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(parameters.var(axis=0), 1.0, atol=0.15)
    again, _ = nodes(num_latents, 2, 0)
    other, _ = nodes(num_latents, 2, 1)
    np.testing.assert_array_equal(points, again)
    assert np.all(points != other)


@pytest.mark.slow
def test_finite_networks_approach_it_with_slope_one_half():
    """Mean error over trials, two layers. Its slope is known to 0.04: a trial's error spreads by about 0.4 of itself."""
    sizes, trials = (64, 256, 1024), 24
    dX = jnp.asarray(increments(2))

    @jax.jit
    def outputs(keys, size):
        def one(key):
            network = finite(len(size), key, depth=2)
            return rl.simulate(network, dX, GRID, rl.GeneralisedRate()).outputs

        return jax.vmap(one)(keys)

    ours = [
        outputs(jax.random.split(jax.random.key(n), trials), np.zeros(n)) for n in sizes
    ]

    def slope(network):
        exact = run(network).outputs
        errors = [float(jnp.mean(jnp.abs(each - exact))) for each in ours]
        return np.polyfit(np.log(sizes), np.log(errors), 1)[0]

    # Five standard errors: by chance in one of 10^6 runs.
    assert abs(slope(infinite(rl.GaussHermite(16), depth=2)) + 0.5) < 0.2
    # Sabotage: another network's limit.
    assert slope(infinite(rl.GaussHermite(16), depth=2, bias=3.0)) > -0.3


def test_diverse_neurons_are_integrated_over_too():
    """Memoryless, so that the integral over encoder, bias and rate has a closed form apart from the chance to fire."""

    def neuron(z):
        escape = rl.ExponentialEscape(20.0 * jnp.exp(0.3 * z[:, 1]))
        return rl.SRM0(TAU_M, escape, rl.NoRefractory())

    def bias(z):
        return -0.5 + 0.4 * z[:, 0]

    network = infinite(
        rl.GaussHermite(16), 1, neuron=neuron, bias=bias, num_parameters=2
    )
    trajectory = run(network)
    dX = increments(1)
    x = np.linspace(-7.0, 7.0, 81)
    encoder, b, z = np.meshgrid(x, x, x, indexing="ij")
    weights = np.prod(
        [stats.norm.pdf(each) * (x[1] - x[0]) for each in (encoder, b, z)], axis=0
    )
    # h of a neuron without bias and of encoder 1, between the steps.
    trace = systems.potentials_at_ends(np.ones((1, 1)), np.zeros(1), dX, TAU_M, DT)
    slope = 20.0 * np.exp(0.045 - 0.5 + 0.08 + 0.5 * GAIN**2)
    for step in (1, 20, 39):
        ends = [GAIN * encoder * trace[n, 0] for n in (step, step + 1)]
        rest = 20.0 * np.exp(0.3 * z - 0.5 + 0.4 * b)
        p = -np.expm1(-DT * rest * np.mean(np.exp(ends), axis=0))
        handed_on = np.sum(weights * encoder * p) / (GAIN * slope)
        # The gain is taken at 1 us, where the chance to fire is not quite linear in the hazard.
        np.testing.assert_allclose(
            trajectory.increments[0, step, 0], handed_on, rtol=1e-3
        )
        mean_rate = np.sum(weights * p) / DT
        np.testing.assert_allclose(trajectory.rates[0, step], mean_rate, rtol=1e-6)


def test_what_cannot_be_is_refused():
    network = infinite(rl.GaussHermite(4), 1)
    layer, dX, key = network.layers[0], np.zeros((NUM_STEPS, 1)), jax.random.key(0)
    quasi = rl.QuasiMonteCarlo(8, key=key)
    refused = [
        ("population", lambda: rl.simulate(network, dX, GRID, rl.Spiking(), key=key)),
        ("population", lambda: rl.readout_variance(layer, dX, GRID)),
        ("population", lambda: rl.expected_error(network, dX, GRID)),
        (
            "population",
            lambda: rl.convergence(
                lambda size, key: network, [4], GRID, num_trials=1, key=key
            ),
        ),
        ("power of two", lambda: rl.QuasiMonteCarlo(24, key=key)),
        ("QuasiMonteCarlo.key", lambda: rl.QuasiMonteCarlo(8, key=None)),
        ("more than twice", lambda: infinite(quasi, 4)),
        ("use QuasiMonteCarlo", lambda: infinite(rl.GaussHermite(16), 6)),
        ("GaussHermite.num_nodes", lambda: rl.GaussHermite(0)),
        ("GaussHermite.smallest_weight", lambda: rl.GaussHermite(4, 1.0)),
        ("num_parameters", lambda: infinite(quasi, 1, bias=lambda z: z[:, 0])),
        ("bias must have shape", lambda: infinite(quasi, 1, bias=np.ones(3))),
        ("nodes must be an instance", lambda: infinite(8, 1)),
        (
            "Layer.node_weights",
            lambda: rl.Layer(NEURON, [[1.0]], [[1.0]], node_weights=[-1.0]),
        ),
    ]
    for message, call in refused:
        with pytest.raises(ValueError, match=message):
            call()
