"""Every neuron type in every dynamics, against enumeration of spike trains and renewal sums in NumPy."""

import doctest
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

import ratelike as rl
from ratelike._escape import _base as escape_base
from ratelike._neuron import _renewal_neuron as renewal_neuron
from ratelike._refractory import _base as refractory_base
from tests.oracles import neurons, systems
from tests.oracles.neurons import DT, NUM_STEPS, TYPES

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

# Each type three times, with other parameters; the time constant of the membrane is 5 ms times the scale.
SCALES, DEAD_TIMES = np.array([1.0, 1.3, 0.8]), np.array([1e-3, 2e-3, 1e-3])
BIASES = np.array([0.5, -0.5, 1.5])
ALIKE, APART = (1.0, 1e-3), (SCALES, DEAD_TIMES)
GRID = rl.TimeGrid(DT, NUM_STEPS)
INCREMENTS = 0.01 * np.random.default_rng(1).normal(size=(NUM_STEPS, 1))

# A population of one type, or a mixture. Compiling is what takes the time: in the fast tests most types meet in one.
FAST = ["exponential kernel", "table kernel", "LIF"]
MIXED = ["LIF", "table kernel", "no kernel"]
ALL = list(TYPES)
each_alone = [
    pytest.param([name], marks=[] if name in FAST else pytest.mark.slow, id=name)
    for name in TYPES
]
mixed = pytest.param(MIXED, id="mixture")
every_type = pytest.mark.parametrize(
    "names", [*each_alone, mixed, pytest.param(ALL, id="all")]
)


def population(names, parameters, copies=1):
    """Copies of a neuron are neighbours."""
    scale, dead_time = (
        np.tile(np.repeat(values, copies), len(names)) if np.ndim(values) else values
        for values in parameters
    )
    kind = np.repeat(np.arange(len(names)), 3 * copies)
    if len(names) > 1:
        return neurons.mixture(names, kind, scale, dead_time)
    return TYPES[names[0]].make(scale, dead_time)


def members(names, parameters):
    """(type, scale, dead time, bias) of each neuron."""
    scales, dead_times = (np.broadcast_to(values, 3) for values in parameters)
    return [
        (TYPES[name], *numbers)
        for name in names
        for numbers in zip(scales, dead_times, BIASES, strict=True)
    ]


def run(names, parameters, dynamics, copies=1, key=None, grid=GRID):
    size = 3 * copies * len(names)
    ones, biases = np.ones((size, 1)), np.tile(np.repeat(BIASES, copies), len(names))
    layer = rl.Layer(population(names, parameters, copies), ones, ones, biases)
    trajectory = rl.simulate(
        rl.Network([layer]),
        INCREMENTS,
        grid,
        dynamics,
        key=key,
        record={0: range(size)},
    )
    return trajectory.recordings[0]


def _louder(hazard, factor):
    return lambda *at: factor * hazard(*at)


def exact_activity(names, parameters, loudness=1.0, dt=DT):
    """By enumeration, and with h computed apart from the library."""
    expected = []
    for kind, scale, dead_time, bias in members(names, parameters):
        hazard = _louder(kind.hazard(scale, dead_time), loudness)
        h = systems.potentials(
            np.ones((1, 1)),
            np.array([bias]),
            INCREMENTS,
            5e-3 * scale,
            dt,
            kind.acting(scale),
        )
        expected.append(
            systems.expected_activity_by_enumeration(
                h[:, 0], hazard, dt, kind.memory, rest=bias
            )
        )
    return np.array(expected).T


def renewal_rate(hazard, h, memory, dt=DT):
    """1 / mean interval at constant potential, from the survivor function; the last age repeats for ever."""
    survivor, mean = 1.0, 0.0
    for k in range(1, math.ceil(memory / dt - 1e-9)):
        mean = mean + survivor
        survivor = survivor * np.exp(-dt * hazard(h, k * dt, h))
    return 1.0 / (dt * (mean + survivor / -np.expm1(-dt * hazard(h, memory, h))))


@every_type
@pytest.mark.parametrize("parameters", [ALIKE, APART], ids=["alike", "apart"])
def test_generalised_rate_is_the_sum_over_all_spike_trains(names, parameters):
    activity = run(names, parameters, rl.GeneralisedRate()).activity
    exact = exact_activity(names, parameters)
    np.testing.assert_allclose(activity, exact, rtol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        *(pytest.param([f"{name} kernel"], id=name) for name in neurons.KERNELS),
        pytest.param(ALL, id="all"),
    ],
)
def test_memories_off_the_grid(names):
    """5.45 steps, of every kernel: in all dynamics the age stops there, and neurons of other memories change nothing."""
    dt = 1.1e-3
    parameters, grid = (1.0, dt), rl.TimeGrid(dt, NUM_STEPS)
    activity = run(names, parameters, rl.GeneralisedRate(), grid=grid).activity
    exact = exact_activity(names, parameters, dt=dt)
    np.testing.assert_allclose(activity, exact, rtol=1e-11)
    gain = rl.ConventionalRate(rl.DirectRate())
    static = run(names, parameters, gain, grid=grid)
    for i, (kind, s, d, _) in enumerate(members(names, parameters)):
        h = np.asarray(static.potential[:, i])
        rate = renewal_rate(kind.hazard(s, d), h, kind.memory, dt)
        np.testing.assert_allclose(static.activity[:, i], dt * rate, rtol=1e-9)
    spikes = run(names, parameters, rl.Spiking(), 4096, jax.random.key(4), grid)
    assert np.abs(z_scores(np.asarray(spikes.activity), exact)).max() < 5.0


@pytest.mark.parametrize("name", TYPES)
def test_stationary_rate_is_the_renewal_sum(name):
    for parameters in (ALIKE, APART):
        h = np.array([[-1.0, 0.0, 0.5], [1.0, 2.0, 4.0]])
        neuron = population([name], parameters)
        rate = rl.stationary_rate(neuron, jnp.asarray(h), DT)
        for i, (kind, s, d, _) in enumerate(members([name], parameters)):
            exact = renewal_rate(kind.hazard(s, d), h[:, i], kind.memory)
            np.testing.assert_allclose(rate[:, i], exact, rtol=1e-11)


@pytest.mark.parametrize("parameters", [ALIKE, APART], ids=["alike", "apart"])
@pytest.mark.parametrize("names", [*each_alone, mixed])
def test_conventional_rate_is_the_renewal_sum(names, parameters):
    """By interpolation for neurons alike (in a mixture type by type), directly for neurons that differ."""
    recording = run(names, parameters, rl.ConventionalRate())
    h = np.asarray(recording.potential)
    exact = [
        renewal_rate(kind.hazard(s, d), h[:, i], kind.memory)
        for i, (kind, s, d, _) in enumerate(members(names, parameters))
    ]
    # The user's own escape rate has a corner, on which interpolation converges slowly.
    tolerance = 1e-5 if names == ["user's escape"] else 1e-9
    np.testing.assert_allclose(
        recording.activity, DT * np.array(exact).T, rtol=tolerance
    )


def z_scores(spikes, expected):
    """Of the number of spikes in each step, binomial over copies; where that is nearly normal."""
    copies = spikes.shape[1] // expected.shape[1]
    counts = spikes.reshape(NUM_STEPS, -1, copies).sum(axis=2)
    enough = copies * expected > 20.0
    assert enough.mean() > 0.8
    variance = copies * expected * (1.0 - expected)
    return ((counts - copies * expected) / np.sqrt(variance))[enough]


@pytest.mark.parametrize(
    "names",
    [["LIF"], pytest.param(ALL, marks=pytest.mark.slow)],
    ids=["LIF", "all"],
)
def test_spikes_average_to_the_generalised_rate(names):
    """Copies of a neuron under one frozen input are trials: 4096 of each neuron.

    390 z-scores below 5: false-positive rate 2 * 10^-4. Hazards that are 25% too high must show.
    """
    key = jax.random.key(0)
    spikes = np.asarray(run(names, APART, rl.Spiking(), 4096, key).activity)
    assert np.abs(z_scores(spikes, exact_activity(names, APART))).max() < 5.0
    wrong = z_scores(spikes, exact_activity(names, APART, loudness=1.25))
    assert abs(wrong.mean()) * np.sqrt(wrong.size) > 5.0


@pytest.mark.slow
@pytest.mark.parametrize("name", TYPES)
def test_error_of_the_trial_mean_falls_with_the_square_root_of_trials(name):
    """mean |error| sqrt(R) = mean sqrt(2 p (1 - p) / pi), binomial, from R = 2^9 to 2^19 trials.

    30 errors per batch, correlated within it at worst completely over the 10 steps of a neuron: relative standard
    error 0.76 / sqrt(3 batches); bounds at 4 of them (or 10%). A dead time too long by a step must show.
    """
    copies = 2**19
    spikes = run([name], APART, rl.Spiking(), copies, jax.random.key(1)).activity
    spikes = np.asarray(spikes).reshape(NUM_STEPS, 3, copies)

    def scaled(expected, trials):
        means = spikes.reshape(NUM_STEPS, 3, -1, trials).mean(axis=3)
        error = np.abs(means - expected[:, :, None]).mean() * np.sqrt(trials)
        return error / np.sqrt(2.0 * expected * (1.0 - expected) / np.pi).mean()

    expected = exact_activity([name], APART)
    for trials in (2**9, 2**11, 2**13, 2**15, 2**17, 2**19):
        bound = max(0.1, 4.0 * 0.76 / np.sqrt(3 * copies / trials))
        assert abs(scaled(expected, trials) - 1.0) < bound
    if name != "no kernel":
        wrong = exact_activity([name], (SCALES, DEAD_TIMES + DT))
        assert scaled(wrong, copies) > 3.0


def test_a_mixture_of_one_type_is_that_type_with_arrays():
    """Spike for spike."""
    kind = np.arange(600) % 3
    arrays = TYPES["exponential kernel"].make(SCALES[kind], DEAD_TIMES[kind])
    each = [
        TYPES["exponential kernel"].make(s, d)
        for s, d in zip(SCALES, DEAD_TIMES, strict=True)
    ]
    ones = np.ones((600, 1))
    a, b = (
        rl.simulate(
            rl.Network([rl.Layer(neuron, ones, ones, 0.5)]),
            INCREMENTS,
            GRID,
            rl.Spiking(),
            key=jax.random.key(2),
            record={0: range(600)},
        )
        .recordings[0]
        .activity
        for neuron in (arrays, rl.Mixture(each, kind))
    )
    assert float(a.sum()) > 100.0
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "dynamics", [rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate()]
)
def test_lif_at_constant_potential_is_srm0(dynamics):
    """Without input every spike leaves the mark b: eta(a) = (v_reset - b) exp(-a / tau_m)."""
    b = jnp.asarray([-1.0, 0.0, 1.0, 2.0] * 16)
    lif = rl.LIF(8e-3, v_reset=-4.0, dead_time=1e-3, memory=30e-3)
    srm0 = rl.SRM0(
        8e-3, refractory=rl.ExponentialRefractory(b + 4.0, 8e-3, 1e-3, 30e-3)
    )
    zeros, grid = np.zeros((64, 1)), rl.TimeGrid(1e-3, 200)
    a, c = (
        rl.simulate(
            rl.Network([rl.Layer(neuron, zeros, zeros, b)]),
            np.zeros((200, 1)),
            grid,
            dynamics,
            key=jax.random.key(3),
            record={0: range(64)},
        )
        .recordings[0]
        .activity
        for neuron in (lif, srm0)
    )
    assert float(a.sum()) > 100.0
    np.testing.assert_allclose(a, c, rtol=1e-10)


def activity_by_cohorts(h, hazard, dt, rest):
    """Renewal equation with a mark: neurons that fired in one step share it and are followed until they fire."""
    activity, cohorts = np.zeros(len(h)), [(-(10**9), rest, 1.0)]
    step, mark, alive = (np.array(column) for column in zip(*cohorts, strict=True))
    for n in range(len(h)):
        p = -np.expm1(-dt * hazard(h[n], (n - step) * dt, mark))
        activity[n] = np.sum(alive * p)
        step, mark = np.append(step, n), np.append(mark, h[n])
        alive = np.append(alive * (1.0 - p), activity[n])
    return activity


@pytest.mark.parametrize(
    ("tau_m", "memory"),
    [(10e-3, 0.1), (np.float32(10e-3), 0.1), (10.1e-3, 0.15), ([7e-3, 19e-3], 0.2)],
)
def test_default_memory_of_lif_takes_few_values(tau_m, memory):
    """Each is a program of its own."""
    assert rl.LIF(tau_m).memory == memory
    many = {rl.LIF(tau).memory for tau in np.linspace(10e-3, 20e-3, 200)}
    assert many == {0.1, 0.15, 0.2}


def test_marks_that_meet_in_the_last_bin_cost_lif_next_to_nothing():
    """The error of averaging marks falls as exp(-2 memory / tau_m): a factor e^4 for two tau_m more of memory.

    And with the default memory of ten tau_m it stays below 10^-8 while intervals are several times longer.
    """
    dt, num_steps, tau_m = 0.5e-3, 400, 4e-3
    increments = 0.004 * np.random.default_rng(3).normal(size=(num_steps, 1))

    def error(memory):
        neuron = rl.LIF(tau_m, memory=memory)
        one = np.ones((1, 1))
        trajectory = rl.simulate(
            rl.Network([rl.Layer(neuron, one, one, 0.0)]),
            increments,
            rl.TimeGrid(dt, num_steps),
            rl.GeneralisedRate(),
            record={0: [0]},
        )

        def hazard(h, age, mark):
            decay = np.exp(-np.minimum(age, neuron.memory) / tau_m)
            u = h + (-5.0 - mark) * decay
            return 10.0 * np.exp(u) * systems.after_dead_time(age, 2e-3, neuron.memory)

        recording = trajectory.recordings[0]
        h, activity = (
            np.asarray(values)[:, 0]
            for values in (recording.potential, recording.activity)
        )
        exact = activity_by_cohorts(h, hazard, dt, rest=0.0)
        return np.abs(activity / exact - 1.0).max()

    short, longer = error(2.0 * tau_m), error(4.0 * tau_m)
    assert 1e-5 < short < 0.1
    assert 0.5 < math.log(short / longer) / 4.0 < 1.5
    assert error(None) < 1e-8


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(
    ("escape", "formula"),
    [
        (rl.SigmoidEscape(50.0, 1.0, 0.5), lambda x: 50.0 * special.expit(x)),
        (rl.SoftplusEscape(50.0, 1.0, 0.5), lambda x: 50.0 * np.logaddexp(0.0, x)),
    ],
    ids=["sigmoid", "softplus"],
)
def test_escape_rates_are_their_formula_and_finite_everywhere(dtype, escape, formula):
    escape = jax.tree.map(lambda x: x.astype(dtype), escape)
    # The softplus goes on in a straight line up to 10^6 widths.
    u = jnp.asarray([*np.linspace(-30.0, 40.0, 141), 60.0, 1e3, 4e5], dtype)
    tolerance = 1e-5 if dtype == jnp.float32 else 1e-12
    x = (np.asarray(u, dtype=float) - 1.0) / 0.5
    np.testing.assert_allclose(escape(u), formula(x), rtol=tolerance)
    largest = float(jnp.finfo(dtype).max)
    far = np.array([1e2, 1e4, 1e10, 1e30, largest])
    for potential in jnp.asarray([*-far, 0.0, *far], dtype):

        def rate(escape, potential=potential):
            return escape(potential)

        value, slopes = jax.value_and_grad(rate)(escape)
        finite = [value, jax.grad(escape)(potential), *jax.tree.leaves(slopes)]
        assert np.isfinite(finite).all(), (potential, finite)


@pytest.mark.parametrize("name", neurons.KERNELS)
def test_kernels_are_their_formula_and_constant_beyond_their_memory(name):
    make, eta = neurons.KERNELS[name]
    kernel = make(1.1, 2e-3)
    age = np.linspace(0.0, neurons.MEMORY, 50)
    exact = [eta(a, 1.1) for a in age]
    np.testing.assert_allclose(kernel(jnp.asarray(age)), exact, rtol=1e-10, atol=1e-12)
    beyond = kernel(jnp.asarray([kernel.memory, 1.1 * kernel.memory, 1.0]))
    np.testing.assert_allclose(beyond, beyond[0], rtol=1e-12)
    assert float(kernel.dead_time) == 2e-3
    assert kernel.shortest_dead_time == 2e-3


def test_a_type_of_shorter_memory_keeps_it_in_a_mixture():
    """LIF stops at its own memory, and so does a neuron that would not by itself."""
    endless = systems.ResetNeuron(
        jnp.asarray(5e-3), rl.ExponentialEscape(), -3.0, span=10e-3
    )
    lif = rl.LIF(5e-3, v_reset=-3.0, dead_time=0.0, memory=10e-3)
    mixed = rl.Mixture([endless, lif, rl.SRM0()], [0, 1, 1])
    h, mark = jnp.ones(3), jnp.full(3, 0.5)
    assert mixed.memory == 0.1
    at_memory, beyond = (
        mixed.hazard(h, jnp.full(3, age), (mark, mark, None)) for age in (10e-3, 0.1)
    )
    exact = 10.0 * np.exp(1.0 - 3.5 * np.exp(-2.0))
    np.testing.assert_allclose(at_memory, exact, rtol=1e-12)
    np.testing.assert_allclose(beyond, exact, rtol=1e-12)


def test_a_table_may_end_before_the_dead_time_and_have_one_entry():
    kernel = rl.TableRefractory([-2.0], 1e-3, [1e-3, 5e-3])
    assert kernel.memory == 5e-3
    np.testing.assert_array_equal(kernel(jnp.asarray([[0.0], [1.0]])), -2.0)


def saturated(names, dtype):
    """A population of neurons far below threshold, saturated, and between."""
    biases = [-1e4, 0.5, 1e2, 1e4]
    kind = np.repeat(np.arange(len(names)), len(biases))
    ones = np.ones((len(kind), 1))
    neuron = neurons.mixture(names, kind)
    layer = rl.Layer(neuron, ones, ones, np.tile(biases, len(names)))
    return jax.tree.map(
        lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x,
        rl.Network([layer]),
    )


DIRECT = rl.ConventionalRate(rl.DirectRate())


LIFS = [name for name in TYPES if "LIF" in name]
unmarked = [name for name in TYPES if name not in LIFS]


@pytest.mark.slow
@pytest.mark.parametrize(
    "dtype", [jnp.float32, pytest.param(jnp.float64, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("names", "dynamics"),
    [
        (unmarked, rl.GeneralisedRate()),
        (LIFS, rl.GeneralisedRate()),
        (list(TYPES), DIRECT),
    ],
    ids=["generalised", "generalised LIF", "conventional"],
)
def test_gradients_stay_finite_under_saturation(names, dynamics, dtype):
    """With respect to all parameters of all neurons; `kind`, whole numbers, is passed over."""

    @eqx.filter_value_and_grad
    def loss(network):
        increments = jnp.full((NUM_STEPS, 1), 1e-2, dtype)
        outputs = rl.simulate(network, increments, GRID, dynamics).outputs
        return jnp.sum(outputs)

    value, slopes = loss(saturated(names, dtype))
    assert np.isfinite(value)
    assert slopes.layers[0].neuron.kind is None
    for path, slope in jax.tree.leaves_with_path(slopes):
        assert np.isfinite(slope).all(), jax.tree_util.keystr(path)


def test_an_interpolated_gain_stays_finite_over_any_range():
    """No rate exceeds one spike per step."""
    gain = rl.ChebyshevRate()
    for dtype in (jnp.float32, jnp.float64):
        h = jnp.asarray([[-1e4, -90.0, 1.0, 1e4]], dtype)
        neuron = jax.tree.map(lambda x, to=dtype: x.astype(to), rl.LIF())

        def rate(h, neuron=neuron):
            return gain(neuron, h, DT).sum()

        assert np.isfinite(jax.grad(rate)(h)).all()
        assert float(gain(neuron, h, DT).max()) <= 1.001 / DT


@pytest.mark.slow
def test_gradients_agree_with_central_differences():
    """With respect to the reset of a LIF and an entry of a table, side by side in a mixture."""

    def loss(values, dynamics):
        v_reset, entry = values
        table = [-4.0, entry, -2.0]
        each = [
            rl.LIF(v_reset=v_reset, dead_time=1e-3, memory=20e-3),
            rl.SRM0(refractory=rl.TableRefractory(jnp.stack(table), 2e-3, 1e-3)),
        ]
        ones = np.ones((4, 1))
        layer = rl.Layer(rl.Mixture(each, [0, 1, 1, 0]), ones, ones, 1.5)
        grid = rl.TimeGrid(DT, 40)
        increments = 5e-3 * np.ones((40, 1))
        outputs = rl.simulate(rl.Network([layer]), increments, grid, dynamics).outputs
        return jnp.sum(outputs)

    values, step = (jnp.asarray(-3.0), jnp.asarray(-1.0)), 1e-5
    table = [jnp.asarray(x) for x in values]
    for dynamics in (rl.GeneralisedRate(), DIRECT):
        slopes = jax.grad(loss)(values, dynamics)
        for index in range(2):
            moved = [
                tuple(v + sign * step * (i == index) for i, v in enumerate(table))
                for sign in (1.0, -1.0)
            ]
            up, down = (loss(each, dynamics) for each in moved)
            central = (up - down) / (2.0 * step)
            assert abs(float(central)) > 1e-6
            np.testing.assert_allclose(slopes[index], central, rtol=1e-5)


def gaussian_gain(names, bias, gain):
    """E[g'(b + gain xi)] averaged over neurons, by central differences of renewal sums on a fine grid."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    step, slopes = 1e-4, []
    for kind, scale, dead_time, _ in members(names, APART):
        hazard = kind.hazard(scale, dead_time)
        # As the library does: a part of the shortest dead time, and 2000 steps in the memory.
        dt = 1e-3 / np.ceil(2.0 / kind.memory) if kind.memory else 1e-6
        h = bias + gain * nodes
        up, down = (
            renewal_rate(hazard, h + sign * step, kind.memory, dt)
            for sign in (1.0, -1.0)
        )
        slopes.append(weights / weights.sum() @ (up - down) / (2.0 * step))
    return np.mean(slopes)


@pytest.mark.parametrize("names", [["LIF"], MIXED], ids=["LIF", "mixture"])
def test_relay_networks_decode_with_the_mean_gain(names):
    network = rl.relay_network(
        population(names, APART),
        num_neurons=3 * len(names),
        num_latents=2,
        depth=1,
        key=jax.random.key(0),
        gain=0.7,
        bias=0.4,
    )
    layer = network.layers[0]
    slope = gaussian_gain(names, 0.4, 0.7)
    expected = np.asarray(layer.encoder) * 2.0 / (0.7**2 * slope)
    # Central differences with a step of 10^-4, of rates that are summed to 10^-14.
    np.testing.assert_allclose(layer.decoder, expected, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["mixture", *(pytest.param(name, marks=pytest.mark.slow) for name in TYPES)],
)
def test_convergence_studies_take_every_type(name):
    """Parameters that differ from neuron to neuron, cut into tiles: the errors are those of single simulations."""
    grid, key = rl.TimeGrid(DT, 30), jax.random.key(0)

    def make_network(num_neurons, key):
        generator = np.random.default_rng(num_neurons)
        scale = generator.uniform(0.8, 1.3, num_neurons)
        dead_time = generator.choice([1e-3, 2e-3], num_neurons)
        if name == "mixture":
            kind = generator.integers(3, size=num_neurons)
            neuron = neurons.mixture(MIXED, kind, scale, dead_time)
        else:
            neuron = TYPES[name].make(scale, dead_time)
        return rl.relay_network(
            neuron, num_neurons=num_neurons, num_latents=2, depth=1, key=key
        )

    result = rl.convergence(make_network, [70], grid, num_trials=1, key=key)
    keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, 70), 0), 3)
    network = make_network(70, keys[0])
    tau_m = jnp.mean(network.layers[0].neuron.tau_m)
    increments = rl.WienerDrive(2, tau_m=tau_m, key=keys[1]).increments(grid)
    spiking, generalised, conventional = (
        rl.simulate(network, increments, grid, dynamics, key=keys[2]).outputs
        for dynamics in (rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate())
    )
    for curve, rate in (
        (result.generalised, generalised),
        (result.conventional, conventional),
    ):
        error = rl.mean_absolute_error(spiking, rate)
        np.testing.assert_allclose(curve.values[0][0], error, rtol=1e-9)


def test_a_mixture_cast_as_a_whole_stays_the_same_mixture():
    """`jax.tree.map(astype)`, as many a script writes it, also turns `kind` into floating-point numbers."""
    neuron = neurons.mixture(MIXED, [0, 1, 2])
    single = jax.tree.map(lambda x: x.astype(jnp.float32), neuron)
    h, age = jnp.asarray([0.5, 0.6, 0.7]), jnp.asarray([2e-3, 2e-3, 2e-3])
    a = neuron.hazard(h, age, neuron.mark(h))
    h, age = h.astype(jnp.float32), age.astype(jnp.float32)
    np.testing.assert_allclose(single.hazard(h, age, single.mark(h)), a, rtol=1e-5)


@pytest.mark.parametrize("module", [escape_base, refractory_base, renewal_neuron])
def test_the_examples_of_a_users_own_neuron(module):
    assert doctest.testmod(module, raise_on_error=True).attempted >= 6
