"""Neurons that remember all their spikes, against NumPy with the whole history in every step."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ratelike as rl
from ratelike._estimator._replay import replay
from tests.oracles import systems

pytestmark = pytest.mark.usefixtures("any_ranks")

DT, NUM_STEPS, ONSET = 1e-3, 96, 24
GRID = rl.TimeGrid(DT, NUM_STEPS)
# At rest, then a step of the input by 1.2 in units of the potential.
INCREMENTS = DT * 1.2 * (np.arange(NUM_STEPS) >= ONSET)[:, None]
TAU_M, RATE, WIDTH = 5e-3, 25.0, 1.3
REFRACTORY = dict(amplitude=2.0, tau=6e-3, dead_time=2e-3)
AMPLITUDE, TAU = 1.1, 40e-3


def adaptive(amplitudes=(AMPLITUDE,), taus=(TAU,), memory=NUM_STEPS * DT, closure=None):
    return rl.AdaptiveSRM(
        TAU_M,
        rl.ExponentialEscape(RATE, 0.0, WIDTH),
        rl.ExponentialRefractory(**REFRACTORY, memory=memory),
        [rl.Adaptation(a, t) for a, t in zip(amplitudes, taus, strict=True)],
        closure,
    )


def simulate(neuron, biases, dynamics, key=None):
    """Every neuron receives the step; recordings of all."""
    size = len(biases)
    layer = rl.Layer(neuron, np.ones((size, 1)), np.ones((size, 1)), biases)
    network = rl.Network([layer])
    record = {0: range(size)}
    trajectory = rl.simulate(
        network, INCREMENTS, GRID, dynamics, key=key, record=record
    )
    return trajectory.recordings[0]


def after_potential(age):
    """eta_A(s)."""
    return -AMPLITUDE * np.exp(-age / TAU)


def last_spike(age):
    """eta(a), or no spike at all."""
    eta = -REFRACTORY["amplitude"] * np.exp(-age / REFRACTORY["tau"])
    dead = REFRACTORY["dead_time"]
    # At the end of the dead time half of the hazard.
    eta = np.where(age < dead + 1e-9, eta - WIDTH * np.log(2.0), eta)
    return np.where(age < dead - 1e-9, -np.inf, eta)


def firing_probability(u):
    return -np.expm1(-DT * RATE * np.exp(u / WIDTH))


def probability_given_history(h, spikes, step, earlier=1.0):
    """Of each neuron in one step: the sum over all its past spikes. Spikes before the last count `earlier` times."""
    if step == 0:
        return firing_probability(h)
    past = spikes[:step][::-1]  # the latest first; its age is one step
    age = DT * np.arange(1, step + 1)
    first = np.argmax(past > 0, axis=0)
    silent = ~np.any(past > 0, axis=0)
    weights = np.where(np.arange(step)[:, None] == first, 1.0, earlier) * past
    u = h + after_potential(age) @ weights
    return firing_probability(u + np.where(silent, 0.0, last_spike(age[first])))


def brute_force(h, trials, seed, earlier=1.0):
    """A Bernoulli draw in each step."""
    rng = np.random.default_rng(seed)
    spikes = np.zeros((len(h), trials))
    for step, potential in enumerate(h):
        p = probability_given_history(potential, spikes, step, earlier)
        spikes[step] = rng.random(trials) < p
    return spikes


def step_potential(bias=0.6):
    ends = systems.potentials_at_ends(
        np.ones((1, 1)), np.array([bias]), INCREMENTS, TAU_M, DT
    )[:, 0]
    return systems.acting_exponential(ends[:-1], ends[1:], WIDTH)


TRIALS = 12_000


@pytest.fixture(scope="module")
def spikes():
    """Of many neurons that are alike."""
    biases = np.full(TRIALS, 0.6)
    run = simulate(adaptive(), biases, rl.Spiking(), jax.random.key(3))
    np.testing.assert_allclose(run.potential[:, 0], step_potential(), atol=1e-12)
    return np.asarray(run.activity)


def scores(spikes, others):
    """Of two samples: means in windows of 8 steps, and the variance of the number of spikes of a neuron."""
    counts = [x.reshape(-1, 8, TRIALS).sum(1) for x in (spikes, others)]
    counts = [
        np.concatenate([c, (x.sum(0) - x.sum(0).mean())[None] ** 2])
        for c, x in zip(counts, (spikes, others), strict=True)
    ]
    error = np.sqrt(sum(c.var(axis=1) / TRIALS for c in counts))
    return (counts[0].mean(1) - counts[1].mean(1)) / error


# Largest of 13 standard scores: exceeded by chance in one of 10^4 runs.
LIMIT = stats.norm.isf(1e-4 / 2 / 13)


def test_spikes_have_the_statistics_of_brute_force(spikes):
    h = step_potential()
    assert np.max(np.abs(scores(spikes, brute_force(h, TRIALS, seed=1)))) < LIMIT
    # Sabotage: without the spikes before the last.
    without = brute_force(h, TRIALS, seed=1, earlier=0.0)
    assert np.max(np.abs(scores(spikes, without))) > 5 * LIMIT


def test_spikes_follow_the_hazard_of_their_own_history(spikes):
    """Spikes minus probabilities given all past spikes are a martingale: its standard scores in 12 windows."""

    def windows(earlier):
        p = np.array(
            [
                probability_given_history(h, spikes, step, earlier) * np.ones(TRIALS)
                for step, h in enumerate(step_potential())
            ]
        )
        excess = (spikes - p).reshape(-1, 8, TRIALS).sum((1, 2))
        return excess / np.sqrt((p * (1.0 - p)).reshape(-1, 8, TRIALS).sum((1, 2)))

    assert np.max(np.abs(windows(1.0))) < LIMIT
    assert np.max(np.abs(windows(0.5))) > LIMIT


def expected_by_history(h, kernel):
    """The integral equation with all of history and without expansion: cohorts of last spikes, activity of earlier ones.

    `kernel(age)` in units of the potential is what the expected activity before the last spike adds.
    """
    activity = np.zeros(len(h))
    births = [(None, 1.0)]  # step of the last spike, surviving share
    for n in range(len(h)):
        survivors = []
        for step, alive in births:
            u = h[n]
            if step is not None:
                age = (n - step) * DT
                u = u + last_spike(age) + after_potential(age)
                earlier = np.arange(step)
                u = u + np.sum(kernel((n - earlier) * DT) * activity[:step])
            p = firing_probability(u)
            activity[n] += alive * p
            survivors.append((step, alive * (1.0 - p)))
        births = [*survivors, (n, activity[n])]
    return activity


def quasi_renewal_kernel(age):
    return WIDTH * np.expm1(after_potential(age) / WIDTH)


BIASES = np.array([-0.5, 0.6, 2.0])
EXACT = rl.QuasiRenewal(tolerance=1e-8)


@pytest.fixture(scope="module")
def rates():
    return np.asarray(
        simulate(adaptive(closure=EXACT), BIASES, rl.GeneralisedRate()).activity
    )


def test_quasi_renewal_rate_solves_the_integral_equation(rates):
    for index, bias in enumerate(BIASES):
        exact = expected_by_history(step_potential(bias), quasi_renewal_kernel)
        np.testing.assert_allclose(rates[:, index], exact, rtol=1e-6)
        # Sabotage: the closure matters.
        other = expected_by_history(step_potential(bias), after_potential)
        assert np.max(np.abs(rates[:, index] / other - 1.0)) > 1e-4


def test_mean_trace_rate_solves_the_integral_equation():
    neuron = adaptive(closure=rl.MeanTrace())
    activity = simulate(neuron, BIASES, rl.GeneralisedRate()).activity
    for index, bias in enumerate(BIASES):
        exact = expected_by_history(step_potential(bias), after_potential)
        # The refractory kernel of a neuron that has never fired is 2 exp(-16), not 0.
        np.testing.assert_allclose(activity[:, index], exact, rtol=1e-6)


def test_default_tolerance_graded_mesh_and_short_memory_are_approximations(rates):
    """Less than the error of the closure itself (below). Two exponentials that are one, so that products matter."""
    neuron = adaptive((0.05 * AMPLITUDE, 0.95 * AMPLITUDE), (TAU, TAU), memory=40e-3)
    solver = rl.AgeShift(rl.AgeMesh.graded(neuron))
    activity = simulate(neuron, BIASES, rl.GeneralisedRate(solver)).activity
    np.testing.assert_allclose(activity, rates, rtol=5e-3)
    assert np.max(np.abs(activity / rates - 1.0)) > 1e-8


def test_rate_follows_the_trial_mean_through_adaptation(spikes, rates):
    """At the peak and after adaptation within 8%; the standard error of the trial mean is 1.5%."""
    mean, rate = spikes.mean(axis=1), rates[:, 1]
    peak, late = slice(ONSET + 6, ONSET + 16), slice(-30, None)
    for window in (peak, late):
        assert abs(rate[window].mean() / mean[window].mean() - 1.0) < 0.08
    # There is something to follow: earlier spikes lower the rate by far more than that.
    h = step_potential()
    forgetful = expected_by_history(h, np.zeros_like)
    assert forgetful[late].mean() / mean[late].mean() > 1.15


def test_without_amplitude_it_is_srm0(spikes):
    plain = rl.SRM0(
        TAU_M,
        rl.ExponentialEscape(RATE, 0.0, WIDTH),
        rl.ExponentialRefractory(**REFRACTORY, memory=NUM_STEPS * DT),
    )
    zero = adaptive((0.0,))
    own, others = (
        simulate(n, BIASES, rl.GeneralisedRate()).activity for n in (zero, plain)
    )
    np.testing.assert_allclose(own, others, rtol=1e-11)
    h = jnp.asarray(BIASES)
    own, others = (rl.stationary_rate(n, h, DT) for n in (zero, plain))
    np.testing.assert_allclose(own, others, rtol=1e-11)
    biases, key = np.full(TRIALS, 0.6), jax.random.key(3)
    zero = eqx.tree_at(lambda n: n.adaptation[0].amplitude, adaptive(), jnp.zeros(()))
    own, others = (
        simulate(n, biases, rl.Spiking(), key).activity for n in (zero, plain)
    )
    np.testing.assert_array_equal(own, others)
    assert np.any(own != spikes)


def test_stationary_rate_is_where_the_integral_equation_settles():
    closure = rl.QuasiRenewal(tolerance=1e-4)
    h = np.array([-1.0, 1.0, 3.0])
    rate = rl.stationary_rate(adaptive(closure=closure), jnp.asarray(h), DT)
    age = np.arange(1, 3001) * DT
    eta = last_spike(age) + after_potential(age)
    kernel = DT * quasi_renewal_kernel(age)
    # Of spikes older than the last.
    earlier = np.append(np.cumsum(kernel[::-1])[::-1][1:], 0.0)

    def excess(h, rate):
        survivors = np.cumprod(1.0 - firing_probability(h + eta + earlier * rate))
        return 1.0 / (DT * (1.0 + survivors.sum())) - rate

    for each, g in zip(h, rate, strict=True):
        low, high = 0.0, 1.0 / DT
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if excess(each, middle) > 0.0 else (low, middle)
        # The last bin, of ages beyond 96 ms, knows mean marks.
        assert abs(g / middle - 1.0) < 2e-3


def test_generalised_rate_settles_at_the_conventional_one():
    grid, h = rl.TimeGrid(DT, 900), jnp.asarray([-1.0, 1.0, 3.0])
    neuron = adaptive(memory=24e-3)
    layer = rl.Layer(neuron, np.zeros((3, 1)), np.ones((3, 1)), h)
    run = rl.simulate(
        rl.Network([layer]),
        np.zeros((900, 1)),
        grid,
        rl.GeneralisedRate(),
        record={0: [0, 1, 2]},
    )
    settled = run.recordings[0].activity[-1] / DT
    np.testing.assert_allclose(rl.stationary_rate(neuron, h, DT), settled, rtol=1e-4)


@pytest.mark.slow
def test_gradients_are_central_differences():
    """Of the rate in time, in reverse mode, and of the stationary rate, which solves an equation."""
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(12, 1)))
    h = jnp.asarray(BIASES)

    def losses(point):
        amplitude, tau = point
        closure = rl.QuasiRenewal(powers=2)
        neuron = adaptive((amplitude,), (tau,), 8e-3, closure)
        layer = rl.Layer(neuron, jnp.ones((3, 1)), jnp.ones((3, 1)), h)
        increments, grid = INCREMENTS[ONSET : ONSET + 12], rl.TimeGrid(DT, 12)
        run = rl.simulate(rl.Network([layer]), increments, grid, rl.GeneralisedRate())
        return jnp.stack(
            [jnp.sum(weights * run.outputs), rl.stationary_rate(neuron, h, DT).sum()]
        )

    @jax.jit
    def with_jacobian(point):
        values, transpose = jax.vjp(losses, point)
        return values, [transpose(row)[0] for row in jnp.eye(2)]

    point = jnp.asarray([0.9, 30e-3])
    _, jacobian = with_jacobian(point)
    for index, size in enumerate((1e-4, 1e-6)):
        offset = size * jnp.eye(2)[index]
        high, low = (with_jacobian(point + sign * offset)[0] for sign in (1.0, -1.0))
        difference = (high - low) / (2 * size)
        # The curvature over the step, and rounding: both well below.
        ours = jnp.stack(jacobian)[:, index]
        np.testing.assert_allclose(ours, difference, rtol=1e-5)


def test_replay_sees_all_spikes(spikes):
    size = 20
    layer = rl.Layer(adaptive(), np.ones((size, 1)), np.ones((size, 1)), 0.6)

    def sample(population, increments, recorded):
        output = rl.Spiking()(
            population,
            rl.GridPath(increments, GRID),
            GRID,
            tile_keys=jax.random.split(jax.random.key(0), 1),
            recorded=recorded,
        )
        return output

    given = jax.jit(
        lambda: replay(sample, layer.population(), jnp.asarray(INCREMENTS), GRID)
    )()
    fired = np.asarray(given.spikes)
    assert fired.sum(axis=0).max() >= 3
    h = step_potential()
    p = [
        probability_given_history(h[n], fired, n) * np.ones(size)
        for n in range(NUM_STEPS)
    ]
    np.testing.assert_allclose(-np.expm1(-given.spent), p, rtol=1e-6, atol=1e-300)


def test_float32_and_parameters_for_each_neuron(rates):
    neuron = adaptive([np.full(3, AMPLITUDE)], [np.full(3, TAU)], closure=EXACT)
    neuron = jax.tree.map(lambda x: x.astype(jnp.float32), neuron)
    layer = rl.Layer(
        neuron, *[jnp.ones((3, 1), jnp.float32)] * 2, BIASES.astype(np.float32)
    )
    record = {0: [0, 1, 2]}
    run = rl.simulate(
        rl.Network([layer]), INCREMENTS, GRID, rl.GeneralisedRate(), record=record
    )
    activity = run.recordings[0].activity
    assert activity.dtype == jnp.float32
    np.testing.assert_allclose(activity, rates, rtol=2e-4)


class BareEscape(rl.extend.AbstractEscape):
    def __call__(self, potential):
        return jnp.clip(potential, 0.0, 1e3)


def test_what_is_not_supported_is_refused():
    neuron = adaptive()
    layer = rl.Layer(neuron, np.ones((3, 1)), np.ones((3, 1)), 0.0)
    network, grid = rl.Network([layer]), rl.TimeGrid(DT, 4)
    stand_in = rl.Layer(neuron.expected, np.ones((3, 1)), np.ones((3, 1)), 0.0)

    def run(network, dynamics, key=None):
        return rl.simulate(network, np.zeros((4, 1)), grid, dynamics, key=key)

    refused = [
        ("no mark", lambda: run(network, rl.GeneralisedRate(diffrax.Euler()))),
        ("last spike", lambda: rl.readout_variance(layer, np.zeros((4, 1)), grid)),
        ("last spike", lambda: rl.expected_error(network, np.zeros((4, 1)), grid)),
        (
            "last spike",
            lambda: rl.expected_spiking_loss(
                network, np.zeros((4, 1)), grid, np.zeros((4, 1))
            ),
        ),
        ("last spike", lambda: rl.Mixture([neuron], [0, 0])),
        (
            "neuron that spikes",
            lambda: run(rl.Network([stand_in]), rl.Spiking(), jax.random.key(0)),
        ),
        (
            "Adaptation.amplitude must be finite and at least 0",
            lambda: rl.Adaptation(-1.0),
        ),
        ("Adaptation.tau must be finite and greater", lambda: rl.Adaptation(1.0, 0.0)),
        ("at least one Adaptation", lambda: rl.AdaptiveSRM(adaptation=[])),
        ("must have a `width`", lambda: rl.AdaptiveSRM(escape=BareEscape())),
        ("powers must be given", lambda: jax.jit(lambda a: adaptive((a,)))(1.0)),
        ("QuasiRenewal.tolerance", lambda: rl.QuasiRenewal(0.0)),
        ("QuasiRenewal.powers", lambda: rl.QuasiRenewal(powers=0)),
    ]
    for message, call in refused:
        with pytest.raises(ValueError, match=message):
            call()
    rl.AdaptiveSRM(escape=BareEscape(), closure=rl.MeanTrace())


def test_stationary_rate_of_a_steep_hazard_is_where_adaptation_stops_it():
    """Sharp and driven far, f(u) is a step: u = h - rate tau is near threshold.

    Newton's method alone went back and forth between silence and saturation, and ended at 1 / dead time.
    """
    sharp = rl.AdaptiveSRM(
        escape=rl.ExponentialEscape(width=0.1),
        refractory=rl.ExponentialRefractory(0.0),
        closure=rl.MeanTrace(),
    )
    h = jnp.asarray([5.0, 10.0, 20.0])
    rate = rl.stationary_rate(sharp, h, DT)
    # After-potentials of amplitude 1 and 100 ms: their mean is rate * 0.1 s, at threshold but for a few widths.
    np.testing.assert_allclose(rate, 10.0 * h, atol=12.0)
    assert np.all(np.diff(rl.stationary_rate(rl.AdaptiveSRM(), 1.5 * h, DT)) > 0.0)
