"""The likelihood of given spikes against a loop over steps in plain NumPy, and against the sum over all spike trains."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._likelihood import _over_blocks
from tests.oracles import networks, systems

DT, STEPS, NEURONS = 1e-3, 40, 3
GRID = rl.TimeGrid(DT, STEPS)
GENERATOR = np.random.default_rng(0)
ENCODER, BIAS = GENERATOR.normal(size=(NEURONS, 2)), np.array([0.0, 0.5, 1.0])
DRIVE = networks.drive(STEPS)
RATE, WIDTH, TAU_M = 60.0, 0.7, np.array([8e-3, 10e-3, 15e-3])
DEAD_TIME, MEMORY, TAU, AMPLITUDE = 2e-3, 12e-3, 6e-3, np.array([1.0, 2.0, 3.0])
DELAY = 2  # steps
WEIGHTS = GENERATOR.normal(size=(NEURONS, 1)), 0.2 * GENERATOR.normal(size=(NEURONS, 1))
ESCAPE = rl.ExponentialEscape(RATE, 0.1, WIDTH)
KERNEL = rl.ExponentialRefractory(AMPLITUDE, TAU, DEAD_TIME, MEMORY)


def srm0():
    return rl.SRM0(TAU_M, ESCAPE, KERNEL)


def lif():
    return rl.LIF(TAU_M, ESCAPE, v_reset=-1.0, dead_time=DEAD_TIME, memory=MEMORY)


def adaptive():
    return rl.AdaptiveSRM(TAU_M, ESCAPE, KERNEL, [rl.Adaptation(0.8, 30e-3)])


def mixture():
    return rl.Mixture([srm0(), lif()], [0, 1, 0])


def recorded(num_steps=STEPS, neurons=NEURONS, seed=0):
    """Spikes that keep the dead time."""
    generator = np.random.default_rng(seed)
    fired = generator.random((num_steps, neurons)) < 0.2
    for step in range(1, num_steps):
        fired[step] &= ~fired[step - 1]
    return fired


def by_steps(model, fired, feedback):
    """log P of each neuron, one step after the other."""
    currents = DRIVE @ ENCODER.T
    if feedback:
        weights = WEIGHTS[0] @ WEIGHTS[1].T / NEURONS
        np.fill_diagonal(weights, 0.0)
        currents[DELAY:] += fired[:-DELAY] @ weights.T
    total = np.zeros(NEURONS)
    for i in range(NEURONS):
        kind = {"mixture": ["srm0", "lif", "srm0"][i]}.get(model, model)
        h, age, mark, trace, decay = (
            BIAS[i],
            MEMORY,
            BIAS[i],
            0.0,
            np.exp(-DT / TAU_M[i]),
        )
        for n in range(STEPS):
            end = BIAS[i] + decay * (h - BIAS[i]) + (1 - decay) / DT * currents[n, i]
            acting = systems.acting_exponential(h, end, WIDTH)
            seen = min(age, MEMORY)
            if kind == "lif":
                u = acting + (-1.0 - mark) * np.exp(-seen / TAU_M[i])
            else:
                u = acting - AMPLITUDE[i] * np.exp(-seen / TAU) - 0.8 * trace
            rho = RATE * np.exp((u - 0.1) / WIDTH)
            spent = DT * rho * systems.after_dead_time(seen, DEAD_TIME, MEMORY)
            total[i] += np.log(-np.expm1(-spent)) if fired[n, i] else -spent
            if kind == "adaptive":
                trace = (trace + fired[n, i]) * np.exp(-DT / 30e-3)
            age, mark = (DT, acting) if fired[n, i] else (age + DT, mark)
            h = end
    return total


def layer_of(neuron, feedback=False):
    loops = rl.Feedback(*WEIGHTS, DELAY * DT) if feedback else None
    return rl.Layer(neuron, ENCODER, np.ones((NEURONS, 1)), BIAS, loops)


@pytest.mark.parametrize(
    ("make", "feedback"),
    [(srm0, False), (lif, True), (adaptive, True), (mixture, False)],
)
def test_it_is_that_of_a_loop_over_steps(make, feedback, monkeypatch):
    """In blocks of 7 steps, the last of which is filled up: what goes from block to block is right."""
    monkeypatch.setattr(_over_blocks, "AT_ONCE", 1)
    fired = recorded()
    ours = rl.log_likelihood(layer_of(make(), feedback), DRIVE, fired, GRID)
    theirs = by_steps(make.__name__, fired, feedback)
    np.testing.assert_allclose(ours, theirs, rtol=1e-11)


def test_likelihoods_of_all_spike_trains_add_up_to_one_whatever_the_parameters():
    """Trains within the dead time have none, and leave the derivative finite. A batch is what its members are."""
    steps = 8
    trains = np.array(list(itertools.product((False, True), repeat=steps)))[..., None]
    grid = rl.TimeGrid(DT, steps)
    layer = rl.Layer(rl.LIF(dead_time=2e-3), [[1.0]], [[1.0]], 4.0)
    drive = networks.drive(steps, 1)

    @jax.jit
    @jax.value_and_grad
    def total(bias):
        changed = eqx.tree_at(lambda each: each.bias, layer, bias)
        each = jax.vmap(lambda train: rl.log_likelihood(changed, drive, train, grid))
        return jnp.sum(jnp.exp(each(jnp.asarray(trains))))

    value, slope = total(layer.bias)
    np.testing.assert_allclose(value, 1.0, rtol=1e-12)
    np.testing.assert_allclose(slope, 0.0, atol=1e-12)


def test_derivatives_are_finite_differences(monkeypatch):
    """In reverse and in forward mode, from block to block, by the parameters of an adapting neuron."""
    monkeypatch.setattr(_over_blocks, "AT_ONCE", 1)
    start = jnp.asarray([60.0, 0.1, 0.7, 10e-3, 2.0, 6e-3, 0.8, 30e-3, 0.5, 1.0])
    fired = recorded()

    def total(x):
        escape = rl.ExponentialEscape(*x[:3])
        kernel = rl.ExponentialRefractory(x[4], x[5], DEAD_TIME, MEMORY)
        neuron = rl.AdaptiveSRM(
            x[3], escape, kernel, [rl.Adaptation(x[6], x[7])], rl.MeanTrace()
        )
        encoder = x[9] * jnp.asarray(ENCODER)
        layer = rl.Layer(neuron, encoder, jnp.ones((NEURONS, 1)), x[8])
        return rl.log_likelihood(layer, DRIVE, fired, GRID).sum()

    direction = start * jnp.asarray(np.random.default_rng(2).normal(size=len(start)))
    forward = jax.jit(lambda x: jax.jvp(total, (x,), (direction,)))
    _, slope = forward(start)
    reverse = jax.jit(jax.grad(total))(start)
    step = 1e-5
    ahead, behind = (forward(start + s * direction)[0] for s in (step, -step))
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-7)
    np.testing.assert_allclose(reverse @ direction, slope, rtol=1e-10)


def test_single_precision_keeps_its_digits_over_long_recordings():
    steps = 100_000
    fired = recorded(steps, 1, seed=3)
    grid, drive = rl.TimeGrid(DT, steps), networks.drive(steps, 1, size=5e-3)
    layer = rl.Layer(rl.SRM0(), [[1.0]], [[1.0]], 1.0)
    exact = rl.log_likelihood(layer, drive, fired, grid)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), layer)
    value = rl.log_likelihood(single, drive.astype(np.float32), fired, grid)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, exact, rtol=3e-7)


def test_forms_of_a_record_and_the_steps_that_are_left_out():
    layer = layer_of(srm0())
    run = rl.simulate(
        rl.Network([layer]),
        DRIVE,
        GRID,
        rl.Spiking(),
        key=jax.random.key(0),
        record={0: rl.Spikes()},
    )
    trains = run.spikes[0]
    assert trains.counts.min() > 0
    forms = [trains, trains.times, trains.activity, jnp.asarray(trains.activity, float)]
    # At the beginning of a step, up to rounding.
    forms.append([np.flatnonzero(each) * DT for each in trains.activity.T])
    values = [rl.log_likelihood(layer, DRIVE, form, GRID) for form in forms]
    for value in values[1:]:
        np.testing.assert_array_equal(value, values[0])
    # Of the first steps alone, and of those that follow given the first ones.
    first = rl.TimeGrid(DT, 15)
    head = rl.log_likelihood(layer, DRIVE[:15], trains.activity[:15], first)
    rest = rl.log_likelihood(layer, DRIVE, trains, GRID, burn_in=15)
    np.testing.assert_allclose(head + rest, values[0], rtol=1e-12)


EARLY, LATE = [[0.005, 0.006], [], []], [[], [0.0405], []]
REFUSED = {
    "two spikes in one step": [[0.0051, 0.0059], [], []],
    "neuron 0 in the steps that begin at 0.005 s and 0.006 s": EARLY,
    "must lie on the grid from 0 to 0.04 s, got 0.0405 s": LATE,
    r"spikes\[2\] must be finite, got nan": [[], [], [np.nan]],
    "each of the 3 neurons, got 2 trains": [[], []],
    r"shape \(40, 3\), got shape \(39, 3\)": np.zeros((39, 3)),
    "0 or 1, .* got nan for neuron 1 in step 2": np.where(
        np.arange(120).reshape(40, 3) == 7, np.nan, 0.0
    ),
    "0 or 1, .* got 2": np.full((40, 3), 2),
    "list of the spike times": 3.0,
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_no_record_is_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        rl.log_likelihood(layer_of(srm0()), DRIVE, REFUSED[message], GRID)


def test_what_does_not_fit_is_refused_by_name():
    layer, fired = layer_of(srm0()), recorded()
    for arguments, message in (
        ((rl.Network([layer]), DRIVE, fired, GRID), "layer must be an instance"),
        ((layer, DRIVE[1:], fired, GRID), r"must have shape \(40, 2\)"),
        ((layer, DRIVE, fired, rl.TimeGrid(0.7e-3, 40)), "layer.neuron.dead_time"),
    ):
        with pytest.raises(ValueError, match=message):
            rl.log_likelihood(*arguments)
    with pytest.raises(ValueError, match="burn_in"):
        rl.log_likelihood(layer, DRIVE, fired, GRID, burn_in=40)
