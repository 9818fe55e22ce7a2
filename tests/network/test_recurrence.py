"""Feedback within a layer, against a loop over steps in NumPy with the matrix of weights J written out.

The reference knows J = E D^T / N, with zeros in its diagonal, and nothing of encoding, decoding, queues and blocks of
steps (but for the random numbers of the spikes, which are drawn for a block each).
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import ratelike as rl
from ratelike._estimator._score_function import _GivenSpikes
from ratelike._network._packed import pack
from ratelike._numerics._tile_random import per_neuron, standard_exponential, tile_keys
from ratelike._study._tiles import _outputs

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

DT, NUM_STEPS, TAU_M = 1e-3, 80, 10e-3
GRID = rl.TimeGrid(DT, NUM_STEPS)
# Two tiles, the second one not full.
NEURONS, LATENTS, RANK = 70, 2, 3
AMPLITUDE, TAU, DEAD_STEPS, OLDEST = 3.0, 6e-3, 2, 12
KEY = jax.random.key(0)
DYNAMICS = {
    "spiking": rl.Spiking(),
    "generalised": rl.GeneralisedRate(),
    "conventional": rl.ConventionalRate(rl.DirectRate()),
}
RATES = ["generalised", "conventional"]


def neuron():
    refractory = rl.ExponentialRefractory(AMPLITUDE, TAU, DEAD_STEPS * DT, OLDEST * DT)
    return rl.SRM0(TAU_M, rl.ExponentialEscape(60.0), refractory)


def arrays(num_neurons=NEURONS):
    generator = np.random.default_rng(0)

    def normal(columns, size):
        return size * generator.normal(size=(num_neurons, columns))

    return dict(
        encoder=normal(LATENTS, 1.0),
        decoder=normal(LATENTS, 0.05),
        bias=0.5 * generator.normal(size=num_neurons),
        feedback_encoder=normal(RANK, 2.0),
        feedback_decoder=normal(RANK, 0.1),
        increments=0.01 * generator.normal(size=(NUM_STEPS, LATENTS)),
    )


def network(values, delay=None, self_connection=False):
    feedback = rl.Feedback(
        values["feedback_encoder"], values["feedback_decoder"], delay, self_connection
    )
    layer = rl.Layer(
        neuron(), values["encoder"], values["decoder"], values["bias"], feedback
    )
    return rl.Network([layer])


def simulate(values, dynamics, delay=None, self_connection=False):
    num_neurons = len(values["bias"])
    return rl.simulate(
        network(values, delay, self_connection),
        values["increments"],
        GRID,
        dynamics,
        key=KEY,
        record={0: range(num_neurons)},
    )


def spent(h, age):
    """dt times the hazard; ages in steps, 1 in the step after a spike."""
    rho = 60.0 * np.exp(h - AMPLITUDE * np.exp(-age * DT / TAU))
    # Half at the end of the dead time.
    return DT * rho * (0.5 * (age >= DEAD_STEPS) + 0.5 * (age > DEAD_STEPS))


def firing_probabilities(h):
    """For each age, (ages, neurons)."""
    return -np.expm1(-spent(h, np.arange(1, OLDEST + 1)[:, None]))


class NumpyGeneralised:
    def __init__(self, num_neurons):
        self.share = np.zeros((OLDEST, num_neurons))
        self.share[-1] = 1.0

    def __call__(self, step, h):
        firing = firing_probabilities(h) * self.share
        staying = self.share - firing
        self.share = np.vstack([firing.sum(axis=0), staying[:-1]])
        self.share[-1] += staying[-1]
        return firing.sum(axis=0)


def numpy_conventional(step, h):
    """One over the mean interval in steps."""
    p = firing_probabilities(h)
    survivor, mean_interval = np.ones_like(h), np.zeros_like(h)
    for each in p[:-1]:
        mean_interval += survivor
        survivor = survivor * (1.0 - each)
    return 1.0 / (mean_interval + survivor / p[-1])


class NumpySpiking:
    """With the library's random numbers: an exponential variate for each block of at most the dead time."""

    def __init__(self, num_neurons, delay_steps):
        self.block = min(DEAD_STEPS, delay_steps)
        self.keys = tile_keys(jax.random.fold_in(KEY, 0), num_neurons)
        self.last_spike = np.full(num_neurons, -(10**6))

    def draw(self, index):
        def one_tile(key):
            return standard_exponential(key, jnp.int32(index), jnp.float64)

        return np.asarray(per_neuron(one_tile, self.keys, len(self.last_spike)))

    def __call__(self, step, h):
        if step % self.block == 0:
            self.left = self.draw(step // self.block)
        age = np.minimum(step - self.last_spike, OLDEST)
        self.left = self.left - spent(h, age)
        fired = (self.left < 0) & (age >= DEAD_STEPS)
        self.last_spike[fired] = step
        return fired.astype(float)


def reference(values, react, delay_steps, self_connection):
    """Potential (at which exp is its mean over both ends of the step) and activity of every neuron and step."""
    size = len(values["bias"])
    weights = values["feedback_encoder"] @ values["feedback_decoder"].T / size
    if not self_connection:
        np.fill_diagonal(weights, 0.0)
    decay = np.exp(-DT / TAU_M)
    h, potentials, activity = values["bias"], [], []
    for step, increment in enumerate(values["increments"]):
        current = values["encoder"] @ increment
        if step >= delay_steps:
            current = current + weights @ activity[step - delay_steps]
        driven = decay * (h - values["bias"]) + (1.0 - decay) / DT * current
        start, h = h, values["bias"] + driven
        potentials.append(np.log(0.5 * (np.exp(start) + np.exp(h))))
        activity.append(react(step, potentials[-1]))
    return np.array(potentials), np.array(activity)


def compare_with_the_loop(values, name, delay, self_connection):
    steps = 1 if delay is None else round(delay / DT)

    def react():
        if name == "spiking":
            return NumpySpiking(NEURONS, steps)
        return (
            NumpyGeneralised(NEURONS) if name == "generalised" else numpy_conventional
        )

    potential, activity = reference(values, react(), steps, self_connection)
    run = simulate(values, DYNAMICS[name], delay, self_connection)
    close = dict(rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(run.recordings[0].activity, activity, **close)
    np.testing.assert_allclose(run.recordings[0].potential, potential, **close)
    decoded = activity @ values["decoder"] / NEURONS
    np.testing.assert_allclose(run.increments[0], decoded, **close)
    # Neither the feedback, nor what a neuron does (not) send to itself, nor the delay is lost in the tolerance.
    nothing = {"feedback_decoder": 0 * values["feedback_decoder"]}
    for other in (
        reference(values | nothing, react(), steps, self_connection),
        reference(values, react(), steps, not self_connection),
        reference(values, react(), steps + 1, self_connection),
    ):
        assert np.abs(other[0] - potential).max() > 1e-3


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_delay_of_one_step_without_self_connection(name):
    """And the same bits alone and in a batch over feedback and inputs."""
    values = arrays()
    compare_with_the_loop(values, name, None, False)
    others = values | {
        "increments": values["increments"][::-1],
        "feedback_encoder": values["feedback_encoder"][::-1],
    }

    def increments(values):
        return simulate(values, DYNAMICS[name]).increments

    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), values, others)
    batch = jax.vmap(increments)(both)
    for each, of_batch in zip((values, others), batch, strict=True):
        np.testing.assert_array_equal(increments(each), of_batch)


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_long_delay_with_self_connection(name):
    """Longer than the blocks of steps, and no multiple of them. With nothing fed back, it is the layer without."""
    values = arrays()
    compare_with_the_loop(values, name, 35e-3, True)
    values["feedback_decoder"] *= 0.0
    silent = simulate(values, DYNAMICS[name], 35e-3, True)
    (layer,) = network(values).layers
    alone = rl.Layer(layer.neuron, layer.encoder, layer.decoder, layer.bias)
    run = rl.simulate(
        rl.Network([alone]), values["increments"], GRID, DYNAMICS[name], key=KEY
    )
    if name == "spiking":
        np.testing.assert_array_equal(silent.increments, run.increments)
    np.testing.assert_allclose(silent.increments, run.increments, rtol=1e-11)


# Derivatives


@pytest.mark.parametrize("rate", RATES)
def test_gradients_against_central_differences(rate):
    """Central differences of relative step 10^-5 carry an error of about 10^-8 of the slope."""
    values = {name: jnp.asarray(value) for name, value in arrays(5).items()}
    weights = np.random.default_rng(1).normal(size=(NUM_STEPS, LATENTS))

    def loss(values):
        run = rl.simulate(
            network(values, 3e-3), values["increments"], GRID, DYNAMICS[rate]
        )
        return 1e3 * jnp.vdot(jnp.asarray(weights), run.outputs**2)

    evaluate = jax.jit(jax.value_and_grad(loss))
    _, gradient = evaluate(values)
    generator, step = np.random.default_rng(2), 1e-5
    for name, value in values.items():
        direction = (
            jnp.asarray(generator.normal(size=value.shape)) * jnp.abs(value).mean()
        )
        along = float(jnp.vdot(gradient[name], direction))
        ends = [
            float(evaluate(values | {name: value + sign * step * direction})[0])
            for sign in (1.0, -1.0)
        ]
        central = (ends[0] - ends[1]) / (2.0 * step)
        assert abs(central) > 1e-6
        np.testing.assert_allclose(along, central, rtol=1e-5, err_msg=name)


def test_the_score_is_that_of_coupled_spikes():
    """log P(spikes) = sum of log p or of -dt rho, with the feedback of the very spikes in every potential."""
    values = {name: jnp.asarray(value) for name, value in arrays(5).items()}
    delay_steps = 3

    def given(values):
        run = simulate(values, rl.Spiking(_GivenSpikes()), delay_steps * DT)
        return run.saved[0], run.recordings[0].activity

    (value, spikes), gradient = jax.value_and_grad(given, has_aux=True)(values)
    spikes = np.asarray(spikes)
    assert spikes.sum() > 20

    def numpy_log_likelihood(values):
        last, total = np.full(5, -(10**6)), 0.0

        def react(step, h):
            nonlocal total
            hazards = spent(h, np.minimum(step - last, OLDEST))
            fired = spikes[step] > 0
            total += np.log(-np.expm1(-hazards[fired])).sum() - hazards[~fired].sum()
            last[fired] = step
            return spikes[step]

        reference(values, react, delay_steps, self_connection=False)
        return total

    values = {name: np.asarray(array) for name, array in values.items()}
    np.testing.assert_allclose(value, numpy_log_likelihood(values), rtol=1e-10)
    generator, step = np.random.default_rng(2), 1e-5
    for name in set(values) - {"decoder"}:  # no spike depends on it
        array = values[name]
        direction = generator.normal(size=array.shape) * np.abs(array).mean()
        ends = [
            numpy_log_likelihood(values | {name: array + sign * step * direction})
            for sign in (1.0, -1.0)
        ]
        central = (ends[0] - ends[1]) / (2.0 * step)
        along = np.vdot(gradient[name], direction)
        np.testing.assert_allclose(along, central, rtol=1e-5, err_msg=name)


# Networks


def attractor(num_neurons, key, **changes):
    arguments = dict(gain=4.0, bias=-1.0, num_patterns=2, delay=2e-3)
    return rl.attractor_network(
        neuron(), num_neurons=num_neurons, key=key, **(arguments | changes)
    )


# Compiles once, where each operation by itself would.
made_at_once = jax.jit(attractor, static_argnums=0)


def test_weights_store_patterns():
    """J_ij = (1/N) sum_mu gain xi_i (phi(xi_j) - mean) / var; the integrals by adaptive quadrature."""
    gain, bias, size = 4.0, -1.0, 70
    layer = made_at_once(size, KEY).layers[0]
    patterns = np.asarray(layer.encoder) / gain
    # As the library does, where the rate depends on the step: at least 2000 steps in the memory.
    fine = DEAD_STEPS * DT / np.ceil(2000 * DEAD_STEPS / OLDEST)

    def phi(xi):
        h = np.atleast_1d(bias + gain * xi)
        age = np.arange(1, int(np.ceil(OLDEST * DT / fine)) + 1)[:, None] * fine
        age = np.minimum(age, OLDEST * DT)
        rho = 60.0 * np.exp(h - AMPLITUDE * np.exp(-age / TAU))
        dead = DEAD_STEPS * DT
        allowed = 0.5 * (age > dead - 1e-9) + 0.5 * (age > dead + 1e-9)
        p = -np.expm1(-fine * rho * allowed)
        survivor = np.cumprod(np.vstack([np.ones_like(h), 1.0 - p[:-1]]), axis=0)
        return 1.0 / (fine * (survivor[:-1].sum(axis=0) + survivor[-1] / p[-1]))

    def gaussian_mean(function):
        def integrand(xi):
            return function(xi)[0] * np.exp(-(xi**2) / 2) / np.sqrt(2 * np.pi)

        return integrate.quad(integrand, -9, 9, limit=200)[0]

    mean = gaussian_mean(phi)
    var = gaussian_mean(lambda xi: (phi(xi) - mean) ** 2)
    stored = np.stack([(phi(xi) - mean) / var for xi in patterns.T], axis=1)
    weights = gain * patterns @ stored.T / size
    np.fill_diagonal(weights, 0.0)
    np.testing.assert_allclose(layer.feedback.weights, weights, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(layer.decoder, layer.feedback.decoder)
    # Standard normal (p > 10^-3), and the first neurons of a larger network.
    assert abs(patterns.mean()) < 3.3 / np.sqrt(patterns.size)
    assert abs(patterns.var() - 1.0) < 3.3 * np.sqrt(2.0 / patterns.size)
    larger = made_at_once(130, KEY).layers[0]
    np.testing.assert_array_equal(larger.encoder[:size], layer.encoder)
    np.testing.assert_allclose(larger.decoder[:size], layer.decoder, rtol=1e-12)


def test_decoders_do_not_depend_on_a_longer_memory():
    """Of a kernel that is long over, with a dead time: at a step of memory/200 they grew to three times as much."""

    def decoder(memory):
        kernel = rl.ExponentialRefractory(5.0, 10e-3, 2e-3, memory)
        stored = rl.attractor_network(
            rl.SRM0(refractory=kernel), num_neurons=8, num_patterns=1, key=KEY
        )
        return np.asarray(stored.layers[0].decoder)

    np.testing.assert_allclose(decoder(3.0), decoder(0.2), rtol=1e-3)


def test_tiles_of_recurrent_networks_are_the_networks_one_by_one():
    """Two networks of two tiles each, one of which is not full, and a tile of no network, without their study.

    Each network has its own 1/N in what is fed back and in what a neuron does not send to itself, of a size to matter.
    """
    grid, dynamics = rl.TimeGrid(DT, 12), DYNAMICS["conventional"]
    memoryless = rl.SRM0(TAU_M, rl.ExponentialEscape(60.0), rl.NoRefractory())

    def made(values):
        values = values | {"feedback_decoder": 10.0 * values["feedback_decoder"]}
        feedback = rl.Feedback(values["feedback_encoder"], values["feedback_decoder"])
        arrays = (values["encoder"], values["decoder"], values["bias"], feedback)
        return rl.Network([rl.Layer(memoryless, *arrays)])

    first = {name: jnp.asarray(value) for name, value in arrays().items()}
    networks = [made(first), made({name: value[::-1] for name, value in first.items()})]
    drives = jnp.stack([first["increments"][:12], first["increments"][12:24]])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks)
    tiles = pack(stacked, list(drives), jax.random.split(KEY), NEURONS, 5)
    run = jax.jit(lambda tiles: _outputs(tiles, grid, dynamics, None)[:2])
    outputs, rates = run(tiles)
    for index, (network, drive) in enumerate(zip(networks, drives, strict=True)):
        alone = rl.simulate(network, drive, grid, dynamics)
        for tile in (2 * index, 2 * index + 1):
            np.testing.assert_allclose(outputs[tile], alone.outputs, rtol=1e-10)
            np.testing.assert_allclose(rates[tile], alone.rates.mean(), rtol=1e-10)


@pytest.mark.slow
def test_convergence_of_recurrent_networks_is_that_of_each_simulated_alone():
    """Two networks of two tiles each, one of which is not full, and a tile of no network: one population."""
    key, size, grid = jax.random.key(0), 100, rl.TimeGrid(DT, 60)
    dynamics = [DYNAMICS[rate] for rate in RATES]
    result = rl.convergence(
        attractor,
        [size],
        grid,
        num_trials=1,
        key=key,
        burn_in=20,
        dynamics=rl.study.ComparedDynamics(conventional=dynamics[1]),
        execution=rl.study.Execution(budget=320),
    )
    curves = (result.generalised, result.conventional)
    assert [len(curve.values[0]) for curve in curves] == [2, 2]
    for trial in range(2):
        trial_key = jax.random.fold_in(jax.random.fold_in(key, size), trial)
        keys = jax.random.split(trial_key, 3)
        alone = made_at_once(size, keys[0])
        drive = rl.WienerDrive(2, tau_m=TAU_M, key=keys[1]).increments(grid)
        spiking = rl.simulate(alone, drive, grid, rl.Spiking(), key=keys[2])
        for each, curve in zip(dynamics, curves, strict=True):
            rate = rl.simulate(alone, drive, grid, each)
            exact = np.abs(np.asarray(spiking.outputs) - rate.outputs)[20:].mean()
            np.testing.assert_allclose(curve.values[0][trial], exact, rtol=1e-9)


@pytest.mark.slow
def test_spiking_converges_to_the_generalised_and_not_to_the_conventional_network():
    """Slope -1/2 within 0.1 (three bootstrap standard errors); the other curve is flat, and above."""

    def make_network(num_neurons, key):
        return jax.tree.map(
            lambda leaf: leaf.astype(jnp.float32),
            attractor(num_neurons, key, bias=0.0, gain=2.0),
        )

    result = rl.convergence(
        make_network,
        [256, 1024, 4096],
        rl.TimeGrid(DT, 300),
        num_trials=4,
        key=KEY,
        burn_in=50,
    )
    assert result.generalised.slope().value == pytest.approx(-0.5, abs=0.1)
    assert result.conventional.slope().value > -0.25
    assert result.conventional.mean()[-1] > 2.0 * result.generalised.mean()[-1]


# Arguments


def refused(message, call):
    with pytest.raises(ValueError, match=message):
        call()


def test_what_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr("ratelike._simulate._simulate", None)
    monkeypatch.setattr("ratelike._study._convergence.run_cell", None)
    eye = np.eye(2)
    for bad, got in (
        (dict(encoder=[1.0, 2.0]), r"Feedback.encoder must have shape \(neurons, lat"),
        (dict(encoder=np.ones((2, 0)), decoder=np.ones((2, 0))), "must not be empty"),
        (dict(encoder=[[np.nan, 0.0], [0.0, 1.0]]), r"encoder .* nan at index \(0, 0"),
        (dict(decoder=np.ones((2, 3))), r"decoder must have shape \(2, 2\)"),
        (dict(decoder=[[np.inf, 0.0], [0.0, 1.0]]), "decoder .* inf at index"),
        (dict(delay=0.0), "Feedback.delay must be .* greater than 0, got 0.0"),
        (dict(delay=-1e-3), "Feedback.delay must be .* greater than 0, got -0.001"),
        (dict(delay=np.nan), "Feedback.delay .* got nan"),
        (dict(delay=[1e-3]), "Feedback.delay must be one number"),
        (dict(self_connection=1), "Feedback.self_connection .* got 1"),
    ):
        arguments = dict(encoder=eye, decoder=eye) | bad
        refused(got, lambda arguments=arguments: rl.Feedback(**arguments))
    refused(
        "Layer.feedback must have the 2 neurons of the layer, got 3",
        lambda: rl.Layer(neuron(), eye, eye, 0.0, rl.Feedback(np.eye(3), np.eye(3))),
    )
    refused(
        "Layer.feedback must be an instance of Feedback, got 1.0",
        lambda: rl.Layer(neuron(), eye, eye, 0.0, 1.0),
    )

    def run(dynamics, delay=None):
        layer = rl.Layer(neuron(), eye, eye, 0.0, rl.Feedback(eye, eye, delay))
        drive = np.zeros((NUM_STEPS, 2))
        rl.simulate(rl.Network([layer]), drive, GRID, dynamics, key=KEY)

    for delay in (1.5e-3, 0.4e-3):
        for dynamics in DYNAMICS.values():
            refused(
                rf"layers\[0\].feedback.delay must be a multiple .* got {delay:g} s",
                lambda dynamics=dynamics, delay=delay: run(dynamics, delay),
            )
    for dynamics, got in (
        (rl.GeneralisedRate(diffrax.Heun()), "method of lines"),
        (rl.Spiking(rl.train.StraightThrough()), "StraightThrough"),
    ):
        refused(
            rf"layers\[0\].feedback must be None for .*{got}",
            lambda dynamics=dynamics: run(dynamics),
        )
    values = arrays(5)
    recurrent = network(values)
    run_of = (values["increments"], GRID)
    for call in (rl.readout_variance, rl.readout_covariance):
        refused(
            "layer must have no feedback.* expected_error",
            lambda call=call: call(recurrent.layers[0], *run_of),
        )
    refused("key must be", lambda: rl.expected_error(recurrent, *run_of))
    study = dict(sizes=[5], grid=GRID, num_trials=1, key=KEY)
    off_the_grid = network(values, 1.5e-3)
    refused(
        r"layers\[0\].feedback.delay",
        lambda: rl.convergence(lambda size, key: off_the_grid, **study),
    )
    for bad, got in (
        (dict(num_neurons=0), "num_neurons"),
        (dict(num_patterns=0), "num_patterns"),
        (dict(gain=0.0), "gain"),
        (dict(bias=[1.0]), "bias"),
        (dict(key=None), "key"),
    ):
        arguments = dict(num_neurons=2, key=KEY) | bad
        refused(got, lambda arguments=arguments: attractor(**arguments))
