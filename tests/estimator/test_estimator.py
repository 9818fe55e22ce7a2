"""Derivatives of sampled spikes against enumeration of all spike trains, and against the exact gradient of the limit.

A derivative with respect to every parameter is compared by its z-scores over independent repeats; the bound 4.5 for the
largest of fewer than 50 has a false-positive rate below 4 * 10^-4. Keys are fixed.
"""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._estimator._replay import replay
from ratelike._estimator._score_function import log_likelihood
from ratelike._numerics._tile_random import tile_keys
from tests.oracles import networks, systems

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

PARAMETERS = dict(rate=150.0, amplitude=2.0, tau=3e-3, dead_time=1e-3, memory=4e-3)
ESTIMATORS = (rl.train.Refuse(), rl.train.StraightThrough(), rl.train.ScoreFunction())
KEY = jax.random.key(0)


drive = functools.partial(networks.drive, size=0.02)


def srm0(rate, amplitude, tau, dead_time, memory):
    return rl.SRM0(
        escape=rl.ExponentialEscape(rate=rate),
        refractory=rl.ExponentialRefractory(amplitude, tau, dead_time, memory),
    )


def small_network(neuron, sizes=(3,), num_latents=2, seed=0):
    generator = np.random.default_rng(seed)

    def layer(size):
        encoder = generator.normal(size=(size, num_latents))
        decoder = 0.02 * generator.normal(size=(size, num_latents))
        return rl.Layer(neuron, encoder, decoder, 0.5 * generator.normal(size=size))

    return rl.Network([layer(size) for size in sizes])


def trainable(network):
    """Everything but the dead times, which are not differentiable."""
    spec = jax.tree.map(lambda _: True, network)
    return eqx.tree_at(
        lambda n: [layer.neuron.refractory.dead_time for layer in n.layers],
        spec,
        replace_fn=lambda _: False,
    )


def flat(tree):
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(tree)]
    return np.concatenate(leaves)


def sampled_gradients(loss, network, increments, grid, estimator, num_trials, repeats):
    """Independent derivatives of the sampled loss, (repeats, parameters)."""
    parameters, rest = eqx.partition(network, trainable(network))

    @jax.jit
    def gradient(key):
        def sampled(parameters):
            return rl.train.sampled_loss(
                eqx.combine(parameters, rest),
                loss,
                increments,
                grid,
                rl.Spiking(estimator),
                key=key,
                num_trials=num_trials,
            )

        gradients = jax.tree.leaves(jax.grad(sampled)(parameters))
        return jnp.concatenate([jnp.ravel(leaf) for leaf in gradients])

    keys = jax.random.split(KEY, repeats)
    return np.asarray(jax.lax.map(gradient, keys, batch_size=50))


def largest_z(samples, exact):
    """Over the parameters on which the expected loss depends."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    depends = np.abs(exact) > 1e-9 * np.abs(exact).max()
    # What has no variance has to agree to rounding.
    floor = 1e-9 * np.abs(exact)
    return np.max(
        np.abs(samples.mean(axis=0) - exact)[depends] / (error + floor)[depends]
    )


# The spikes


def reset_neuron():
    return systems.ResetNeuron(
        jnp.asarray(4e-3), rl.ExponentialEscape(rate=300.0), -3.0, 20e-3
    )


@pytest.mark.parametrize("make", [lambda: srm0(**PARAMETERS), reset_neuron])
def test_spikes_do_not_depend_on_the_estimator(make):
    network, grid = small_network(make(), (70,)), rl.TimeGrid(0.5e-3, 83)
    runs = [
        rl.simulate(
            network,
            drive(83),
            grid,
            rl.Spiking(estimator),
            key=KEY,
            record={0: [*range(64), 69, 3]},
        )
        for estimator in ESTIMATORS
    ]
    assert float(runs[0].rates.sum()) > 0.0
    for run in runs[1:]:
        ours, theirs = runs[0].recordings[0], run.recordings[0]
        np.testing.assert_array_equal(ours.activity, theirs.activity)
        np.testing.assert_allclose(ours.potential, theirs.potential, atol=1e-12)
        np.testing.assert_allclose(runs[0].outputs, run.outputs, atol=1e-12)
        np.testing.assert_allclose(runs[0].rates, run.rates, atol=1e-12)


@pytest.mark.parametrize("marked", [False, True])
def test_likelihoods_of_all_spike_trains_are_those_of_enumeration(marked):
    """And add up to 1: the replay finds the age and the mark of every step."""
    dt, num_steps = 1e-3, 9
    neuron = reset_neuron() if marked else srm0(**PARAMETERS)
    layer = small_network(neuron, (1,)).layers[0]
    increments, grid = jnp.asarray(drive(num_steps)), rl.TimeGrid(dt, num_steps)
    trains = np.array(list(itertools.product((0.0, 1.0), repeat=num_steps)))

    def likelihood(train):
        def sample(population, increments, recorded):
            recording = rl.extend.Recording(recorded, train[:, None], train[:, None])
            return eqx.tree_at(
                lambda out: out.recording,
                silent,
                recording,
                is_leaf=lambda x: x is None,
            )

        return jnp.exp(log_likelihood(replay(sample, population, increments, grid)))

    population = layer.population()
    silent = rl.Spiking()(
        population,
        rl.GridPath(increments, grid),
        grid,
        tile_keys=tile_keys(KEY, layer.num_neurons),
    )
    ours = np.asarray(jax.vmap(likelihood)(jnp.asarray(trains)))
    h = systems.potentials(
        np.asarray(layer.encoder),
        np.asarray(layer.bias),
        np.asarray(increments),
        float(neuron.tau_m),
        dt,
    )[:, 0]
    rest = float(layer.bias[0])
    exact = [train_probability(h, train, neuron, dt, marked, rest) for train in trains]
    np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(ours.sum(), 1.0, rtol=1e-12)


def train_probability(h, train, neuron, dt, marked, rest):
    memory = 20e-3 if marked else PARAMETERS["memory"]
    probability, age, mark = 1.0, memory, rest
    for potential, spike in zip(h, train, strict=True):
        if marked:
            offset = (-3.0 - mark) * np.exp(-age / float(neuron.tau_m))
            rho = 300.0 * np.exp(potential + offset)
        else:
            rho = systems.srm0_hazard(potential, age, **PARAMETERS)
        p = -np.expm1(-dt * rho)
        probability *= p if spike else 1.0 - p
        age, mark = (dt, potential) if spike else (min(age + dt, memory), mark)
    return probability


# Unbiased


def smooth_loss(network, trajectory):
    target = jnp.asarray([0.5, -0.5])
    return jnp.mean((trajectory.outputs - target) ** 2)


def stepwise_loss(network, trajectory):
    """Whose own derivative is zero: all of the derivative comes from the likelihood."""
    return jnp.mean(jnp.where(jnp.abs(trajectory.outputs) > 0.2, 1.0, 0.0))


def expected_loss_by_enumeration(loss, network, increments, grid):
    """Sums over all spike trains of a neuron that drives another neuron, in an independent recursion."""
    num_steps = grid.num_steps
    trains = np.array(list(itertools.product((0.0, 1.0), repeat=2 * num_steps)))
    trains = jnp.asarray(trains.reshape(-1, 2, num_steps))

    def probability_and_loss(trains):
        signal, log_probability = increments, 0.0
        for layer, train in zip(network.layers, trains, strict=True):
            refractory, escape = layer.neuron.refractory, layer.neuron.escape
            decay = jnp.exp(-grid.dt / layer.neuron.tau_m)
            potential, age, out = layer.bias[0], PARAMETERS["memory"], []
            for n in range(num_steps):
                current = layer.encoder[0] @ signal[n]
                start = potential
                potential = (
                    layer.bias[0]
                    + decay * (potential - layer.bias[0])
                    + (1.0 - decay) / grid.dt * current
                )
                mean = 0.5 * (escape(start) + escape(potential))
                acting = escape.threshold + escape.width * jnp.log(mean / escape.rate)
                u = acting + refractory(jnp.asarray(age))
                after = age - PARAMETERS["dead_time"]
                allowed = jnp.where(
                    after > -1e-9, jnp.where(after > 1e-9, 1.0, 0.5), 0.0
                )
                rho = escape(u) * allowed
                p = -jnp.expm1(-grid.dt * rho)
                p_safe = jnp.where(train[n] > 0.0, p, 1.0 - p)
                log_probability = log_probability + jnp.log(jnp.maximum(p_safe, 1e-300))
                older = jnp.minimum(age + grid.dt, PARAMETERS["memory"])
                age = jnp.where(train[n] > 0.0, grid.dt, older)
                out.append(train[n] * layer.decoder[0])
            signal = jnp.stack(out)
        outputs = rl.membrane_traces(signal, network.output_tau_m, grid.dt)
        # The losses look at the outputs alone.
        rates, succeeded = jnp.zeros((1, len(signal))), jnp.ones(1, bool)
        run = rl.Trajectory(outputs, signal[None], rates, {}, (), succeeded, grid)
        return jnp.exp(log_probability) * loss(network, run)

    return jnp.sum(jax.vmap(probability_and_loss)(trains))


@pytest.mark.parametrize(
    "loss", [pytest.param(smooth_loss, marks=pytest.mark.slow), stepwise_loss]
)
def test_score_function_agrees_with_enumeration_of_two_layers(loss):
    grid = rl.TimeGrid(1e-3, 5)
    network = small_network(srm0(**PARAMETERS), (1, 1), seed=3)
    increments = jnp.asarray(drive(5))
    parameters, rest = eqx.partition(network, trainable(network))

    def expected(parameters):
        network = eqx.combine(parameters, rest)
        return expected_loss_by_enumeration(loss, network, increments, grid)

    exact = flat(jax.grad(expected)(parameters))
    estimate = sampled_gradients(
        loss, network, increments, grid, rl.train.ScoreFunction(), 20, 2000
    )
    assert largest_z(estimate, exact) < 4.5
    if loss is stepwise_loss:
        return
    # The standard error is small enough to tell: the biased estimator fails by far.
    biased = sampled_gradients(
        loss, network, increments, grid, rl.train.StraightThrough(), 20, 200
    )
    assert largest_z(biased, exact) > 20.0


def total_output(network, trajectory):
    return jnp.sum(trajectory.outputs)


def exact_gradient(loss, network, increments, grid):
    parameters, rest = eqx.partition(network, trainable(network))

    def of_rates(parameters):
        network = eqx.combine(parameters, rest)
        run = rl.simulate(network, increments, grid, rl.GeneralisedRate())
        return loss(network, run)

    return flat(jax.grad(of_rates)(parameters))


@pytest.mark.slow
def test_score_function_agrees_with_the_exact_gradient_of_the_rate_network():
    """One layer, a loss linear in the output: the expected loss is that of the generalised rate, exactly."""
    grid, increments = rl.TimeGrid(1e-3, 30), drive(30)
    network = small_network(srm0(**PARAMETERS))
    exact = exact_gradient(total_output, network, increments, grid)
    estimate = sampled_gradients(
        total_output, network, increments, grid, rl.train.ScoreFunction(), 20, 2000
    )
    assert largest_z(estimate, exact) < 4.5
    # Along the exact gradient the standard error is a few per cent of its length.
    along = estimate @ exact / (exact @ exact)
    assert along.std() / np.sqrt(len(along)) < 0.05
    straight = sampled_gradients(
        total_output, network, increments, grid, rl.train.StraightThrough(), 20, 200
    )
    assert largest_z(straight, exact) > 20.0


def test_the_baseline_takes_variance_away():
    """A constant in the loss changes the estimate by rounding only; without a baseline its variance would rule."""
    grid, increments = rl.TimeGrid(1e-3, 20), drive(20)
    network = small_network(srm0(**PARAMETERS))

    @jax.jit
    @jax.grad
    def gradient(encoder, shift):
        def loss(network, trajectory):
            return total_output(network, trajectory) + shift

        changed = eqx.tree_at(lambda n: n.layers[0].encoder, network, encoder)
        dynamics = rl.Spiking(rl.train.ScoreFunction())
        return rl.train.sampled_loss(
            changed, loss, increments, grid, dynamics, key=KEY, num_trials=5
        )

    encoder = network.layers[0].encoder
    plain, shifted = (np.asarray(gradient(encoder, shift)) for shift in (0.0, 1e3))
    assert np.abs(plain).max() > 0.0
    np.testing.assert_allclose(shifted, plain, rtol=0, atol=1e-9 * np.abs(plain).max())


# Biased


def test_straight_through_is_right_on_average_for_memoryless_neurons():
    """There p does not depend on the age, so that one trial gives the encoder's derivative without any variance."""
    grid, increments = rl.TimeGrid(1e-3, 30), drive(30)
    network = small_network(rl.SRM0(refractory=rl.NoRefractory()))

    def gradient(dynamics):
        def loss(encoder):
            changed = eqx.tree_at(lambda n: n.layers[0].encoder, network, encoder)
            run = rl.simulate(changed, increments, grid, dynamics, key=KEY)
            return jnp.sum(run.outputs)

        return jax.jit(jax.grad(loss))(network.layers[0].encoder)

    straight = gradient(rl.Spiking(rl.train.StraightThrough()))
    np.testing.assert_allclose(straight, gradient(rl.GeneralisedRate()), rtol=1e-10)


def slopes_of_the_rate(bias, dt, num_ages=200):
    """The rate of the default neuron in Hz, its derivative with ages taken as given, and its derivative."""

    def stationary(bias):
        age = np.arange(1, num_ages + 1) * dt
        rho = 10.0 * np.exp(bias - 5.0 * np.exp(-age / 20e-3))
        rho = rho * (0.5 * (age > 2e-3 - 1e-9) + 0.5 * (age > 2e-3 + 1e-9))
        p = -np.expm1(-dt * rho)
        survivor = np.concatenate([[1.0], np.cumprod(1.0 - p[:-1])])
        survivor[-1] /= p[-1]
        rate = 1.0 / survivor.sum() / dt
        return rate, np.sum(survivor * rate * dt * rho * np.exp(-dt * rho))

    rate, frozen = stationary(bias)
    step = 1e-5
    exact = (stationary(bias + step)[0] - stationary(bias - step)[0]) / (2.0 * step)
    return rate, frozen, exact


@pytest.mark.parametrize(
    ("bias", "rate", "ratio"), [(0.0, 7, 1.35), (2.0, 22, 2.26), (4.0, 48, 2.58)]
)
def test_the_documented_bias_of_straight_through(bias, rate, ratio):
    """Against stationary renewal theory: within 4 standard errors of sum_k P_k dp_k, which is not the derivative."""
    dt, num_steps, burn_in, size = 0.5e-3, 1200, 400, 400
    expected_rate, frozen, exact = slopes_of_the_rate(bias, dt)
    assert round(expected_rate) == rate
    assert abs(frozen / exact - ratio) < 0.01
    layer = rl.Layer(rl.SRM0(), np.zeros((size, 1)), np.ones((size, 1)), bias)
    network, grid = rl.Network([layer]), rl.TimeGrid(dt, num_steps)

    def total(bias):
        changed = eqx.tree_at(lambda n: n.layers[0].bias, network, bias)
        dynamics = rl.Spiking(rl.train.StraightThrough())
        run = rl.simulate(changed, np.zeros((num_steps, 1)), grid, dynamics, key=KEY)
        return size * jnp.mean(run.rates[0, burn_in:])

    slopes = np.asarray(jax.grad(total)(layer.bias))
    error = slopes.std(ddof=1) / np.sqrt(size)
    assert abs(slopes.mean() - frozen) < 4.0 * error
    assert abs(slopes.mean() - exact) > 20.0 * error


# Refused


def test_what_would_be_wrong_is_refused():
    network, grid = small_network(srm0(**PARAMETERS)), rl.TimeGrid(1e-3, 8)

    def output(encoder, estimator):
        changed = eqx.tree_at(lambda n: n.layers[0].encoder, network, encoder)
        dynamics = rl.Spiking(estimator)
        return total_output(
            changed, rl.simulate(changed, drive(8), grid, dynamics, key=KEY)
        )

    def mean_output(encoder, estimator, num_trials=2):
        changed = eqx.tree_at(lambda n: n.layers[0].encoder, network, encoder)
        dynamics = rl.Spiking(estimator)
        return rl.train.sampled_loss(
            changed,
            total_output,
            drive(8),
            grid,
            dynamics,
            key=KEY,
            num_trials=num_trials,
        )

    encoder = network.layers[0].encoder
    for differentiate in (jax.grad, jax.jacfwd):
        with pytest.raises(ValueError, match="GeneralisedRate"):
            differentiate(output)(encoder, rl.train.Refuse())
        with pytest.raises(ValueError, match="sampled_loss"):
            differentiate(output)(encoder, rl.train.ScoreFunction())
        with pytest.raises(ValueError, match="GeneralisedRate"):
            differentiate(mean_output)(encoder, rl.train.Refuse())
    values = [mean_output(encoder, estimator) for estimator in ESTIMATORS[:2]]
    score = jax.jit(lambda encoder: mean_output(encoder, rl.train.ScoreFunction()))
    value, reverse = jax.jit(jax.value_and_grad(score))(encoder)
    np.testing.assert_allclose([value, values[1]], values[0], rtol=1e-12)
    forward = jax.jit(jax.jacfwd(score))(encoder)
    np.testing.assert_allclose(forward, reverse, rtol=1e-10, atol=1e-14)
    with pytest.raises(ValueError, match=r"num_trials must .* at least 2, got 1"):
        mean_output(encoder, rl.train.ScoreFunction(), num_trials=1)


def test_arguments_of_a_sampled_loss():
    network, grid = small_network(srm0(**PARAMETERS)), rl.TimeGrid(1e-3, 8)

    def call(loss=total_output, dynamics=None, key=KEY, num_trials=2):
        dynamics = rl.Spiking() if dynamics is None else dynamics
        return rl.train.sampled_loss(
            network, loss, drive(8), grid, dynamics, key=key, num_trials=num_trials
        )

    with pytest.raises(ValueError, match=r"dynamics must .* Spiking, got Generalised"):
        call(dynamics=rl.GeneralisedRate())
    with pytest.raises(ValueError, match=r"key must .* got None"):
        call(key=None)
    with pytest.raises(ValueError, match=r"num_trials must .* got 0"):
        call(num_trials=0)
    with pytest.raises(ValueError, match=r"loss must be a function .* got 1.0"):
        call(loss=1.0)
    with pytest.raises(ValueError, match=r"value of loss must .* shape \(8, 2\)"):
        call(loss=lambda network, trajectory: trajectory.outputs)
    with pytest.raises(ValueError, match=r"Spiking.estimator must .* got <class"):
        rl.Spiking(rl.train.StraightThrough)


def test_an_estimator_in_float32_stays_in_float32():
    network = jax.tree.map(
        lambda x: x.astype(jnp.float32), small_network(srm0(**PARAMETERS))
    )
    for estimator in ESTIMATORS[1:]:

        def sampled(network, estimator=estimator):
            return rl.train.sampled_loss(
                network,
                smooth_loss_32,
                drive(8),
                rl.TimeGrid(1e-3, 8),
                rl.Spiking(estimator),
                key=KEY,
                num_trials=3,
            )

        value, slopes = jax.jit(jax.value_and_grad(sampled))(network)
        assert value.dtype == jnp.float32
        for leaf in jax.tree.leaves(slopes):
            assert leaf.dtype == jnp.float32
            assert bool(jnp.isfinite(leaf).all())


def smooth_loss_32(network, trajectory):
    return jnp.mean(trajectory.outputs**2)
