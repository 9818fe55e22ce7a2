"""The generalised rate against enumeration, renewal theory, other solvers, and itself at other time steps."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from tests.oracles import systems
from tests.oracles.networks import drive

PARAMETERS = dict(rate=40.0, amplitude=3.0, tau=4e-3, dead_time=2e-3, memory=6e-3)


def srm0(rate, amplitude, tau, dead_time, memory):
    return rl.SRM0(
        escape=rl.ExponentialEscape(rate=rate),
        refractory=rl.ExponentialRefractory(amplitude, tau, dead_time, memory),
    )


def small_layer(neuron, num_neurons=3, num_latents=2, seed=0, gain=1.0):
    generator = np.random.default_rng(seed)
    encoder = gain * generator.normal(size=(num_neurons, num_latents))
    decoder = generator.normal(size=(num_neurons, num_latents))
    return rl.Layer(neuron, encoder, decoder, generator.normal(size=num_neurons))


def recorded_activity(layer, increments, grid, dynamics=None):
    network = rl.Network([layer])
    everyone = range(layer.num_neurons)
    dynamics = rl.GeneralisedRate() if dynamics is None else dynamics
    trajectory = rl.simulate(network, increments, grid, dynamics, record={0: everyone})
    return trajectory, trajectory.recordings[0]


@pytest.mark.parametrize("memory", [6e-3, 12e-3])
def test_equals_the_sum_over_all_spike_trains(memory):
    dt, num_steps = 1e-3, 11
    parameters = PARAMETERS | dict(memory=memory)
    layer = small_layer(srm0(**parameters))
    increments = drive(num_steps)
    trajectory, recording = recorded_activity(
        layer, increments, rl.TimeGrid(dt, num_steps)
    )
    h = systems.potentials(
        np.asarray(layer.encoder), np.asarray(layer.bias), increments, 10e-3, dt
    )
    np.testing.assert_allclose(recording.potential, h, rtol=0, atol=1e-13)
    exact = [
        systems.expected_activity_by_enumeration(
            h[:, i], lambda h, a, m: systems.srm0_hazard(h, a, **parameters), dt, memory
        )
        for i in range(layer.num_neurons)
    ]
    np.testing.assert_allclose(recording.activity, np.array(exact).T, rtol=1e-12)
    increments_out = np.array(exact).T @ np.asarray(layer.decoder) / layer.num_neurons
    np.testing.assert_allclose(trajectory.increments[0], increments_out, rtol=1e-10)
    np.testing.assert_allclose(
        trajectory.rates[0], np.mean(exact, axis=0) / dt, rtol=1e-12
    )


def test_the_mark_of_a_reset_travels_with_the_age():
    dt, num_steps = 1e-3, 10
    neuron = systems.ResetNeuron(
        jnp.asarray(4e-3), rl.ExponentialEscape(rate=60.0), -3.0, num_steps * dt
    )
    layer = small_layer(neuron)
    increments = drive(num_steps)
    grid = rl.TimeGrid(dt, num_steps)
    _, recording = recorded_activity(layer, increments, grid)
    h = np.asarray(recording.potential)

    def hazard(h, age, mark):
        # Enumeration writes "never fired" as age = memory, which does not occur otherwise.
        reset = (-3.0 - mark) * np.exp(-age / 4e-3)
        return 60.0 * np.exp(h + reset)

    for i in range(layer.num_neurons):
        exact = systems.expected_activity_by_enumeration(
            h[:, i], hazard, dt, num_steps * dt, rest=float(layer.bias[i])
        )
        np.testing.assert_allclose(recording.activity[:, i], exact, rtol=1e-12)


def test_response_to_a_step_rings_like_the_renewal_equation():
    """Strong refractoriness and a step up: damped oscillation with the period of the interval."""
    dt, num_steps = 0.5e-3, 240
    parameters = dict(
        rate=100.0, amplitude=20.0, tau=5e-3, dead_time=3e-3, memory=60e-3
    )
    layer = systems.single_neuron_layer(srm0(**parameters), bias=-3.0, gain=1.0)
    increments = np.zeros((num_steps, 1))
    increments[80:] = 6.0 * dt
    _, recording = recorded_activity(layer, increments, rl.TimeGrid(dt, num_steps))
    activity = np.asarray(recording.activity)[:, 0]
    h = np.asarray(recording.potential)[:, 0]
    exact = systems.activity_by_renewal_equation(
        h, lambda h, a: systems.srm0_hazard(h, a, **parameters), dt, 60e-3
    )
    np.testing.assert_allclose(activity, exact, rtol=1e-11)
    after = activity[80:]
    turns = np.flatnonzero(np.diff(np.sign(np.diff(after))) != 0)
    swings = np.abs(np.diff(after[turns + 1]))
    assert len(swings) >= 3, "no ringing"
    assert np.all(swings[1:] < swings[:-1]), "the ringing is not damped"


@pytest.mark.parametrize(
    ("dtype", "num_steps", "tolerance"),
    [(jnp.float64, 2_000, 1e-12), (jnp.float32, 100_000, 1e-5)],
)
def test_mass_is_conserved_and_never_negative(dtype, num_steps, tolerance):
    grid = rl.TimeGrid(0.5e-3, num_steps)
    # From silent (10^-7 Hz) to saturated neurons.
    bias = jnp.linspace(-18.0, 12.0, 16, dtype=dtype)
    encoder = jnp.ones((16, 1), dtype)
    network = rl.Network([rl.Layer(rl.SRM0(), encoder, encoder, bias)])
    times = grid.times[:: num_steps // 50][1:]

    def mass(t, density, args):
        return density.age_distribution.sum(axis=0), density.age_distribution.min()

    dynamics = rl.GeneralisedRate(
        saveat=diffrax.SaveAt(ts=times.astype(dtype), fn=mass)
    )
    increments = 0.03 * jax.random.normal(jax.random.key(0), (num_steps, 1), dtype)
    trajectory = rl.simulate(network, increments, grid, dynamics)
    _, (total, smallest) = trajectory.saved[0]
    assert total.dtype == dtype
    np.testing.assert_allclose(total, 1.0, rtol=0, atol=tolerance)
    assert float(smallest.min()) >= 0.0


def test_float32_agrees_with_float64():
    grid = rl.TimeGrid(0.5e-3, 1000)
    network = rl.relay_network(
        rl.SRM0(), num_neurons=64, num_latents=3, depth=2, key=jax.random.key(0)
    )
    increments = rl.WienerDrive(3, key=jax.random.key(1)).increments(grid)
    exact = rl.simulate(network, increments, grid, rl.GeneralisedRate())
    single = jax.tree.map(lambda x: x.astype(jnp.float32), network)
    rounded = rl.simulate(single, increments, grid, rl.GeneralisedRate())
    assert rounded.outputs.dtype == jnp.float32
    # Rounding of h (10^-7, e-folds of the rate) and of the polynomial for p (10^-6): 10^-5 of outputs of order 1.
    np.testing.assert_allclose(rounded.outputs, exact.outputs, rtol=0, atol=3e-5)


def smooth_path():
    ts = jnp.linspace(0.0, 0.2, 41)
    ys = jnp.stack([0.06 * jnp.sin(40.0 * ts), 0.04 * jnp.cos(31.0 * ts)], axis=1)
    return diffrax.CubicInterpolation(ts, diffrax.backward_hermite_coefficients(ts, ys))


def fitted_order(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


ORDER_PARAMETERS = dict(
    rate=10.0, amplitude=3.0, tau=6e-3, dead_time=4e-3, memory=20e-3
)


@pytest.mark.slow
def test_age_shift_is_of_order_one_on_one_brownian_path():
    """Halving dt refines the same path; h, read at the left of each step, makes the scheme of order 1.

    The fitted order is 1 up to the next order of dt and the path's roughness: 1 +- 0.2.
    """
    layer = small_layer(srm0(**ORDER_PARAMETERS), num_neurons=16, gain=0.5)
    source = rl.WienerDrive(2, key=jax.random.key(3))
    duration, coarsest = 0.2, 2e-3
    finest = coarsest / 64

    def outputs(dt):
        grid = rl.TimeGrid(dt, round(duration / dt))
        out = rl.simulate(
            rl.Network([layer]), source, grid, rl.GeneralisedRate()
        ).outputs
        return np.asarray(out)[round(coarsest / dt) - 1 :: round(coarsest / dt)]

    reference = 2 * outputs(finest) - outputs(2 * finest)  # Richardson
    steps = coarsest / 2.0 ** np.arange(4)
    errors = [np.abs(outputs(dt) - reference).mean() for dt in steps]
    assert abs(fitted_order(steps, errors) - 1.0) < 0.2, errors


@pytest.mark.slow
def test_method_of_lines_reaches_the_limit_of_age_shift_on_the_same_brownian_path():
    """Both of order 1 (upwind in age); extrapolated to dt -> 0 they agree to a tenth of the last error."""
    layer = small_layer(srm0(**ORDER_PARAMETERS), num_neurons=16, gain=0.5)
    source = rl.WienerDrive(2, key=jax.random.key(3))
    duration, coarsest = 0.2, 2e-3

    def outputs(dt, dynamics):
        grid = rl.TimeGrid(dt, round(duration / dt))
        out = rl.simulate(rl.Network([layer]), source, grid, dynamics).outputs
        return np.asarray(out)[round(coarsest / dt) - 1 :: round(coarsest / dt)]

    steps = coarsest / 2.0 ** np.arange(2, 6)
    lines = [outputs(dt, rl.GeneralisedRate(solver=diffrax.Euler())) for dt in steps]
    shifts = [outputs(dt, rl.GeneralisedRate()) for dt in steps[-2:]]
    limit_of_lines = 2 * lines[-1] - lines[-2]
    limit_of_shifts = 2 * shifts[-1] - shifts[-2]
    line_errors = [np.abs(y - limit_of_shifts).mean() for y in lines]
    assert abs(fitted_order(steps, line_errors) - 1.0) < 0.25, line_errors
    apart = np.abs(limit_of_lines - limit_of_shifts).mean()
    assert apart < 0.1 * line_errors[-1]


@pytest.mark.parametrize(
    "solver", [diffrax.Tsit5(), diffrax.Kvaerno3()], ids=lambda s: type(s).__name__
)
def test_adaptive_solvers_on_a_smooth_path(solver):
    """With the same ages, adaptive solvers agree with fixed small steps to their tolerance."""
    parameters = dict(rate=40.0, amplitude=3.0, tau=6e-3, dead_time=4e-3, memory=16e-3)
    layer = small_layer(srm0(**parameters), num_neurons=2)
    grid = rl.TimeGrid(1e-3, 100)

    def run(solver, controller=None, grid=grid):
        dynamics = rl.GeneralisedRate(
            solver=solver, stepsize_controller=controller, age_step=1e-3
        )
        network = rl.Network([layer])
        return rl.simulate(network, smooth_path(), grid, dynamics).outputs

    adaptive = run(solver, diffrax.PIDController(rtol=1e-7, atol=1e-9))
    fine = run(diffrax.Dopri5(), grid=rl.TimeGrid(0.125e-3, 800))[7::8]
    # Outputs filter the increments of grid steps, which differ between the grids at order dt: compare increments' sums.
    assert adaptive.shape == fine.shape
    np.testing.assert_allclose(adaptive, fine, rtol=0, atol=5e-3 * np.abs(fine).max())


def test_gradients_agree_with_central_differences_and_with_forward_mode():
    grid = rl.TimeGrid(1e-3, 30)
    layer = small_layer(srm0(**PARAMETERS))
    increments = jnp.asarray(drive(30))

    def loss(values, dynamics):
        encoder, bias, amplitude = values
        neuron = srm0(**PARAMETERS | dict(amplitude=amplitude))
        network = rl.Network([rl.Layer(neuron, encoder, layer.decoder, bias)] * 2)
        return jnp.sum(rl.simulate(network, increments, grid, dynamics).outputs ** 2)

    values = (layer.encoder, layer.bias, jnp.asarray(3.0))
    reverse = jax.grad(loss)(values, rl.GeneralisedRate())
    direction = jax.tree.map(
        lambda x: jax.random.normal(jax.random.key(x.size), x.shape, x.dtype), values
    )
    along = sum(
        jnp.vdot(a, b)
        for a, b in zip(
            jax.tree.leaves(reverse), jax.tree.leaves(direction), strict=True
        )
    )
    forward = rl.GeneralisedRate(adjoint=diffrax.ForwardMode())
    _, tangent = jax.jvp(lambda v: loss(v, forward), (values,), (direction,))
    step = 1e-5

    def shifted(sign):
        return jax.tree.map(lambda x, d: x + sign * step * d, values, direction)

    central = (
        loss(shifted(1.0), rl.GeneralisedRate())
        - loss(shifted(-1.0), rl.GeneralisedRate())
    ) / (2 * step)
    np.testing.assert_allclose(along, tangent, rtol=1e-10)
    np.testing.assert_allclose(along, central, rtol=1e-5)


@pytest.mark.slow
def test_gradients_stay_finite_under_saturation():
    grid = rl.TimeGrid(1e-3, 20)

    def loss(bias):
        layer = rl.Layer(rl.SRM0(), jnp.ones((3, 1)), jnp.ones((3, 1)), bias)
        increments = jnp.ones((20, 1))
        network = rl.Network([layer])
        return rl.simulate(
            network, increments, grid, rl.GeneralisedRate()
        ).outputs.sum()

    for dtype in (jnp.float32, jnp.float64):
        value, slope = jax.value_and_grad(loss)(jnp.asarray([-1e4, 1e2, 1e4], dtype))
        assert bool(jnp.isfinite(value))
        assert bool(jnp.isfinite(slope).all())


def test_what_the_caller_saves_is_the_density():
    grid = rl.TimeGrid(1e-3, 20)
    layer = small_layer(srm0(**PARAMETERS))
    dynamics = rl.GeneralisedRate(saveat=diffrax.SaveAt(t1=True))
    trajectory = rl.simulate(rl.Network([layer]), drive(20), grid, dynamics)
    times, density = trajectory.saved[0]
    assert isinstance(density, rl.extend.RefractoryDensity)
    np.testing.assert_allclose(times, [0.02])
    assert density.age_distribution.shape == (1, 6, 3)
    plain, recording = recorded_activity(layer, drive(20), grid)
    assert plain.saved == (None,)
    np.testing.assert_allclose(density.activity[0], recording.activity[-1])
    assert density.total_activity is None


def test_the_method_of_lines_saves_what_has_been_fired_since_the_beginning():
    layer = small_layer(srm0(**PARAMETERS))
    saveat = diffrax.SaveAt(ts=[0.01, 0.02])
    dynamics = rl.GeneralisedRate(diffrax.Euler(), saveat=saveat)
    trajectory, recording = recorded_activity(
        layer, drive(20), rl.TimeGrid(1e-3, 20), dynamics
    )
    _, density = trajectory.saved[0]
    total = np.cumsum(np.asarray(recording.activity), axis=0)[[9, 19]]
    np.testing.assert_allclose(density.total_activity, total)
    np.testing.assert_allclose(density.age_distribution.sum(axis=1), 1.0)
    assert density.age.shape == density.age_distribution.shape[:2]
    assert density.activity is None


def test_a_solver_that_does_not_finish_is_an_error():
    layer = small_layer(srm0(**PARAMETERS))
    dynamics = rl.GeneralisedRate(solver=diffrax.Euler(), max_steps=5)
    with pytest.raises(RuntimeError, match="layer 0"):
        rl.simulate(rl.Network([layer]), drive(20), rl.TimeGrid(1e-3, 20), dynamics)


def test_long_runs_in_float32_keep_step_with_their_input():
    """300 000 steps of 0.1 ms: float32 times no longer tell the steps, diffrax rounds the last ones together."""
    grid = rl.TimeGrid(1e-4, 300_000)
    neuron = rl.SRM0(refractory=rl.ExponentialRefractory(1.0, 1e-3, 0.0, 1e-3))
    one = jnp.ones((1, 1), jnp.float32)
    network = rl.Network([rl.Layer(neuron, one, one)])
    increments = 2e-3 * jax.random.normal(jax.random.key(0), (300_000, 1))
    potentials = [
        rl.simulate(network, increments, grid, dynamics, record={0: [0]})
        .recordings[0]
        .potential
        for dynamics in (rl.GeneralisedRate(), rl.ConventionalRate(rl.DirectRate()))
    ]
    assert potentials[0].dtype == jnp.float32
    np.testing.assert_allclose(*potentials, rtol=0, atol=1e-4)


def test_no_callback_disables_the_compilation_cache():
    layer = small_layer(srm0(**PARAMETERS))
    grid, increments = rl.TimeGrid(1e-3, 5), jnp.asarray(drive(5))
    for dynamics in (rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate()):

        def outputs(increments, dynamics=dynamics):
            key = jax.random.key(0)
            return rl.simulate(rl.Network([layer]), increments, grid, dynamics, key=key)

        assert "callback" not in str(jax.make_jaxpr(outputs)(increments))
