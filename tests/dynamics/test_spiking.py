"""Spikes against a per-step Bernoulli draw written without the library, and against the law of their intervals.

Statistical tests have fixed keys. Each states its false-positive rate over keys and has a sabotage that must fail.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import ratelike as rl
from ratelike._dynamics import _blocks
from tests.oracles import networks, systems

NEURON = dict(rate=60.0, amplitude=4.0, tau=8e-3, dead_time=2e-3, memory=40e-3)


def srm0(rate, amplitude, tau, dead_time, memory):
    return rl.SRM0(
        escape=rl.ExponentialEscape(rate=rate),
        refractory=rl.ExponentialRefractory(amplitude, tau, dead_time, memory),
    )


def spikes_at_constant_potential(neuron, dt, num_steps, num_neurons, bias=0.5, seed=0):
    zeros = jnp.zeros((num_neurons, 1))
    network = rl.Network([rl.Layer(neuron, zeros, zeros, bias)])
    trajectory = rl.simulate(
        network,
        jnp.zeros((num_steps, 1)),
        rl.TimeGrid(dt, num_steps),
        rl.Spiking(),
        key=jax.random.key(seed),
        record={0: range(num_neurons)},
    )
    return np.asarray(trajectory.recordings[0].activity)


def interval_distribution(dt, bias=0.5, longest=600, **parameters):
    """P(interval = m steps), m = 1, 2, ..., from the survivor function in plain NumPy."""
    survivor, law = 1.0, []
    for k in range(longest):
        p = -np.expm1(-dt * systems.srm0_hazard(bias, (k + 1) * dt, **parameters))
        law.append(survivor * p)
        survivor *= 1.0 - p
    return np.array(law)


def first_intervals(spikes, longest):
    """One complete interval for each neuron: between its first two spikes (independent between neurons)."""
    intervals = []
    for train in spikes.T:
        times = np.flatnonzero(train)
        if len(times) > 1 and times[0] < len(train) - longest:
            intervals.append(times[1] - times[0])
    return np.array(intervals)


def interval_p_value(spikes, law, longest=600):
    """Chi-squared test of intervals against their law, in bins of at least 20 expected."""
    intervals = first_intervals(spikes, longest)
    edges, expected, start = [], [], 0
    cumulative = np.concatenate([[0.0], np.cumsum(law)])
    for end in range(1, longest + 1):
        mass = (cumulative[end] - cumulative[start]) * len(intervals)
        if mass >= 20.0:
            edges.append((start, end))
            expected.append(mass)
            start = end
    expected.append(len(intervals) - sum(expected))
    observed = [np.sum((intervals > a) & (intervals <= b)) for a, b in edges]
    observed.append(len(intervals) - sum(observed))
    return stats.chisquare(observed, expected).pvalue


@pytest.mark.parametrize("dead_time", [2e-3, 0.0, 7.5e-3])
def test_intervals_follow_the_survivor_function(dead_time):
    """False-positive rate 10^-3. Dead times: one block of 4 steps, blocks of 1 step, blocks capped at 8 of 15 steps."""
    # Weak refractoriness beside the dead time, so that a wrong dead time shows.
    parameters = NEURON | dict(dead_time=dead_time, amplitude=1.0)
    dt = 0.5e-3
    spikes = spikes_at_constant_potential(srm0(**parameters), dt, 900, 16384)
    assert interval_p_value(spikes, interval_distribution(dt, **parameters)) > 1e-3
    without = parameters | dict(dead_time=max(dead_time, dt) + dt)  # a step more
    scaled = 1.1 * dt  # as if the hazard were integrated over a wrong step
    assert interval_p_value(spikes, interval_distribution(dt, **without)) < 1e-9
    law = interval_distribution(dt, **parameters | dict(rate=60.0 * scaled / dt))
    assert interval_p_value(spikes, law) < 1e-6


def brute_force_spikes(layer, increments, dt, parameters, trials, seed):
    """Per-step Bernoulli draws in NumPy, (trials, time, neurons)."""
    generator = np.random.default_rng(seed)
    h = systems.potentials(
        np.asarray(layer.encoder), np.asarray(layer.bias), increments, 10e-3, dt
    )
    age = np.full((trials, h.shape[1]), parameters["memory"])
    hazard = np.vectorize(
        lambda h, a: systems.srm0_hazard(h, a, **parameters), otypes=[float]
    )
    trains = []
    for potential in h:
        p = -np.expm1(-dt * hazard(potential[None], age))
        spike = generator.random(age.shape) < p
        trains.append(spike)
        age = np.where(spike, dt, np.minimum(age + dt, parameters["memory"]))
    return np.stack(trains, axis=1)


def test_mean_and_variance_per_step_agree_with_brute_force():
    """Under fluctuating input; z-scores of the total count's mean and variance, |z| < 3.9: false positives 10^-4 each."""
    generator = np.random.default_rng(2)
    dt, num_steps, trials = 0.5e-3, 120, 3000
    layer = rl.Layer(srm0(**NEURON), [[0.8], [-0.6]], [[1.0], [1.0]], [1.0, 0.5])
    increments = 0.02 * generator.normal(size=(num_steps, 1))
    brute = brute_force_spikes(layer, increments, dt, NEURON, trials, seed=3)

    def library(key):
        trajectory = rl.simulate(
            rl.Network([layer]),
            increments,
            rl.TimeGrid(dt, num_steps),
            rl.Spiking(),
            key=key,
            record={0: [0, 1]},
        )
        return trajectory.recordings[0].activity

    keys = jax.random.split(jax.random.key(4), trials)
    ours = np.asarray(jax.vmap(library)(keys))
    for i in range(2):
        a, b = brute[:, :, i].sum(axis=1), ours[:, :, i].sum(axis=1)
        z_mean = (a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / trials)
        fourth = np.mean((a - a.mean()) ** 4) + np.mean((b - b.mean()) ** 4)
        z_variance = (a.var() - b.var()) / np.sqrt(
            (fourth - a.var() ** 2 - b.var() ** 2) / trials
        )
        assert abs(z_mean) < 3.9
        assert abs(z_variance) < 3.9
    # Per step: 240 z-scores, the largest below 4.5 (false-positive rate 2 * 10^-3).
    p, q = brute.mean(axis=0), ours.mean(axis=0)
    z = (p - q) / np.sqrt((p * (1 - p) + q * (1 - q) + 1e-6) / trials)
    assert np.abs(z).max() < 4.5


def frozen_errors(repeats, total, num_steps=60, neuron=None):
    """Mean |mean of R spiking trials - rate|, averaged over disjoint batches of R trials, for each R."""
    neuron = srm0(**NEURON) if neuron is None else neuron
    generator = np.random.default_rng(5)
    size = (48, 48)
    layer = rl.Layer(
        neuron, generator.normal(size=size) / 7, generator.normal(size=size), 1.0
    )
    # A fast output membrane: errors at different times are nearly independent, so their mean is sharp.
    network = rl.Network([layer], output_tau_m=0.5e-3)
    grid = rl.TimeGrid(0.5e-3, num_steps)
    increments = 0.07 * generator.normal(size=(num_steps, 48))
    network = jax.tree.map(lambda x: x.astype(jnp.float32), network)
    rate_layer = rl.Layer(srm0(**NEURON), layer.encoder, layer.decoder, 1.0)
    rate = rl.simulate(
        rl.Network([rate_layer], output_tau_m=0.5e-3),
        increments,
        grid,
        rl.GeneralisedRate(),
    ).outputs

    def batch_mean(key):
        def one(key):
            return rl.simulate(network, increments, grid, rl.Spiking(), key=key).outputs

        keys = jax.random.split(key, repeats[0])
        return jnp.mean(jax.vmap(one)(keys).astype(jnp.float64), axis=0)

    keys = jax.random.split(jax.random.key(6), total // repeats[0])
    means = np.asarray(jax.lax.map(batch_mean, keys)) - np.asarray(rate)
    errors = []
    for count in repeats:
        batches = means.reshape(-1, count // repeats[0], *means.shape[1:]).mean(axis=1)
        errors.append(np.abs(batches).mean())
    return np.array(errors)


def test_trial_mean_of_frozen_input_converges_to_the_generalised_rate():
    """error sqrt(R) constant within 10%: a few standard errors (60 x 48 errors, a few neurons dominate)."""
    repeats = [100, 1000, 10_000]
    scaled = frozen_errors(repeats, 10_000) * np.sqrt(repeats)
    assert np.all(np.abs(scaled / scaled[0] - 1.0) < 0.1), scaled
    sabotaged = srm0(**NEURON | dict(dead_time=1.5e-3))
    scaled = frozen_errors(repeats, 10_000, neuron=sabotaged) * np.sqrt(repeats)
    assert scaled[-1] / scaled[0] > 1.1, "a wrong dead time goes unnoticed"


@pytest.mark.slow
def test_trial_mean_of_a_hundred_thousand_trials():
    repeats = [100, 1000, 10_000, 100_000]
    scaled = frozen_errors(repeats, 100_000) * np.sqrt(repeats)
    assert np.all(np.abs(scaled / scaled[0] - 1.0) < 0.1), scaled


def relay(num_neurons=200, depth=2, dtype=jnp.float32):
    return networks.relay(None, num_neurons, 7, depth, dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_same_key_same_spikes_alone_in_a_batch_and_under_jit(dtype):
    network = relay(dtype=dtype)
    grid = rl.TimeGrid(0.5e-3, 203)
    increments = rl.WienerDrive(7, key=jax.random.key(1)).increments(grid)

    def run(key, increments=increments):
        out = rl.simulate(
            network, increments, grid, rl.Spiking(), key=key, record={1: range(200)}
        )
        return out.outputs, out.rates, out.recordings[1].activity

    keys = jax.random.split(jax.random.key(2), 5)
    alone = [run(key) for key in keys]
    batch = jax.vmap(run)(keys)
    compiled = jax.jit(run)(keys[3])
    drives = jnp.stack([increments] * 3)
    shared = jax.vmap(run, (None, 0))(keys[3], drives)
    for index, each in enumerate(alone):
        for a, b in zip(each, batch, strict=True):
            np.testing.assert_array_equal(a, b[index])
    for a, b, c in zip(alone[3], compiled, shared, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c[1])
    with jax.disable_jit():
        short = rl.simulate(
            network, increments[:12], rl.TimeGrid(0.5e-3, 12), rl.Spiking(), key=keys[3]
        )
    np.testing.assert_array_equal(short.rates, alone[3][1][:, :12])


@pytest.mark.parametrize("num_neurons", [1, 63, 64, 65, 130])
def test_first_neurons_of_a_larger_network_are_the_smaller_network(num_neurons):
    large, small = relay(200, depth=1), relay(num_neurons, depth=1)
    np.testing.assert_array_equal(
        small.layers[0].encoder, large.layers[0].encoder[:num_neurons]
    )
    np.testing.assert_array_equal(
        small.layers[0].decoder, large.layers[0].decoder[:num_neurons]
    )
    grid = rl.TimeGrid(0.5e-3, 400)
    increments = rl.WienerDrive(7, key=jax.random.key(1)).increments(grid)
    spikes = [
        rl.simulate(
            network,
            increments,
            grid,
            rl.Spiking(),
            key=jax.random.key(2),
            record={0: range(num_neurons)},
        )
        .recordings[0]
        .activity
        for network in (small, large)
    ]
    assert num_neurons == 1 or float(jnp.sum(spikes[0])) > 0
    np.testing.assert_array_equal(spikes[0], spikes[1])


@pytest.mark.filterwarnings("ignore:neurons of network.layers.0. fire whenever")
def test_no_neuron_fires_within_its_dead_time_nor_without_hazard():
    spikes = spikes_at_constant_potential(rl.SRM0(), 0.5e-3, 400, 64, bias=60.0)
    intervals = np.diff(np.flatnonzero(spikes[:, 0]))
    np.testing.assert_array_equal(intervals, 4)  # as short as the dead time
    silent = spikes_at_constant_potential(rl.SRM0(), 0.5e-3, 4000, 512, bias=-200.0)
    assert silent.sum() == 0


@pytest.mark.filterwarnings("ignore:neurons of network.layers.0. fire whenever")
def test_heterogeneous_parameters_belong_to_their_neurons():
    dead_time = jnp.asarray([2e-3] * 32 + [8e-3] * 32)
    neuron = rl.SRM0(refractory=rl.ExponentialRefractory(dead_time=dead_time))
    spikes = spikes_at_constant_potential(neuron, 0.5e-3, 400, 64, bias=60.0)
    np.testing.assert_array_equal(np.diff(np.flatnonzero(spikes[:, 0])), 4)
    np.testing.assert_array_equal(np.diff(np.flatnonzero(spikes[:, 63])), 16)


def test_the_mark_of_a_reset_acts_in_spikes_as_in_the_density():
    """Trial mean against the exact expectation: the largest of 40 z-scores below 4 (false-positive rate 3 * 10^-3)."""
    neuron = systems.ResetNeuron(
        jnp.asarray(4e-3), rl.ExponentialEscape(rate=300.0), -3.0, 20e-3
    )
    layer = rl.Layer(neuron, jnp.ones((64, 1)), jnp.ones((64, 1)), 0.5)
    network, grid = rl.Network([layer]), rl.TimeGrid(0.5e-3, 40)
    increments = 0.004 * np.random.default_rng(0).normal(size=(40, 1))
    expected = rl.simulate(network, increments, grid, rl.GeneralisedRate()).rates[0]

    def rates(key):
        return rl.simulate(network, increments, grid, rl.Spiking(), key=key).rates[0]

    trials = np.asarray(jax.vmap(rates)(jax.random.split(jax.random.key(1), 500)))
    z = (trials.mean(axis=0) - expected) / (trials.std(axis=0) / np.sqrt(500))
    assert np.abs(z).max() < 4.0


def test_differentiating_through_spikes_is_refused():
    network = relay(16, depth=2)
    grid = rl.TimeGrid(0.5e-3, 10)
    increments = jnp.zeros((10, 7))

    def loss(gain):
        changed = eqx.tree_at(
            lambda n: n.layers[0].encoder, network, replace_fn=lambda x: x * gain
        )
        key = jax.random.key(0)
        return rl.simulate(
            changed, increments, grid, rl.Spiking(), key=key
        ).outputs.sum()

    gain = jnp.asarray(1.0, jnp.float32)
    with pytest.raises(ValueError, match="GeneralisedRate"):
        jax.grad(loss)(gain)
    with pytest.raises(ValueError, match="GeneralisedRate"):
        jax.jvp(loss, (gain,), (gain,))


def test_a_longer_run_begins_with_the_shorter_one(monkeypatch):
    """Lengths of any remainder. With so many latents and steps at once, a matrix product of fewer rows rounds otherwise."""
    monkeypatch.setattr(_blocks, "STEPS_CODED_AT_ONCE", 80)
    network = rl.relay_network(
        rl.SRM0(), num_neurons=64, num_latents=40, depth=1, key=jax.random.key(0)
    )
    network = jax.tree.map(lambda x: x.astype(jnp.float32), network)
    grid = rl.TimeGrid(0.5e-3, 160)
    increments = rl.WienerDrive(40, key=jax.random.key(1)).increments(grid)
    increments = increments.astype(jnp.float32)

    def run(steps):
        given, key = increments[:steps], jax.random.key(2)
        grid = rl.TimeGrid(0.5e-3, steps)
        return rl.simulate(network, given, grid, rl.Spiking(), key=key).outputs

    longest = run(160)
    assert jnp.any(longest != 0.0)
    for steps in (1, 40, 81):
        np.testing.assert_array_equal(run(steps), longest[:steps])
