r"""The scheme in time, against plain NumPy written from its equations and from nothing else.

    h[n+1] - b = a (h[n] - b) + (1 - a)/dt E dX[n],   h[0] = b,   a = exp(-dt/tau_m)
    f(hs[n])   = (f(h[n]) + f(h[n+1])) / 2
    p[n]       = 1 - exp(-dt f(hs[n] + eta(age))),    age = min(steps since the last spike * dt, memory)

with no spike within the dead time, and before the first spike an age of `memory`.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from scipy import special

import ratelike as rl

DT, NUM_STEPS, TAU_M, DEAD = 1e-3, 10, 5e-3, 2
GRID = rl.TimeGrid(DT, NUM_STEPS)
INCREMENTS = 0.012 * np.random.default_rng(4).normal(size=(NUM_STEPS, 1))
# Off the grid; and longer than the run, so that marks of LIF do not meet in the last bin and its density is exact.
MEMORY, LONG_MEMORY = 5.4 * DT, 10.4 * DT
RATE, THRESHOLD, WIDTH, AMPLITUDE, TAU, V_RESET = 150.0, 0.5, 1.2, 3.0, 4e-3, -3.0
OUTPUT_TAU_M = 7e-3


class Escape(NamedTuple):
    ours: rl.extend.AbstractEscape
    rate: Callable
    inverse: Callable


def scaled(u):
    return (u - THRESHOLD) / WIDTH


def unscaled(x):
    return THRESHOLD + WIDTH * x


EXPONENTIAL = Escape(
    rl.ExponentialEscape(RATE, THRESHOLD, WIDTH),
    lambda u: RATE * np.exp(scaled(u)),
    lambda rate: unscaled(np.log(rate / RATE)),
)
SIGMOID = Escape(
    rl.SigmoidEscape(3 * RATE, THRESHOLD, WIDTH),
    lambda u: 3 * RATE * special.expit(scaled(u)),
    lambda rate: unscaled(special.logit(rate / (3 * RATE))),
)
SOFTPLUS = Escape(
    rl.SoftplusEscape(RATE, THRESHOLD, WIDTH),
    lambda u: RATE * np.log1p(np.exp(scaled(u))),
    lambda rate: unscaled(np.log(np.expm1(rate / RATE))),
)


class Type(NamedTuple):
    """`potential(hs, age, mark)` is u; the mark is hs in the step of the last spike, before the first one the bias."""

    ours: rl.extend.AbstractNeuron
    escape: Escape
    potential: Callable
    memory: float
    dead: int  # steps

    def probability(self, hs, steps, mark):
        """To fire so many steps after the last spike (None: never fired)."""
        if steps is not None and steps < self.dead:
            return np.zeros_like(hs)
        age = self.memory if steps is None else min(steps * DT, self.memory)
        rho = self.escape.rate(self.potential(hs, age, mark))
        # Half at the end of the dead time.
        return -np.expm1(
            -DT * rho * (0.5 if steps is not None and steps == self.dead > 0 else 1.0)
        )


class UsersNeuron(rl.extend.AbstractNeuron):
    """A neuron whose own hazard does not stop at its memory: that the age stops there is the library's rule."""

    tau_m: Array
    escape: rl.extend.AbstractEscape
    dead_time: Array
    memory: float = eqx.field(static=True)
    shortest_dead_time: float = eqx.field(static=True)

    def mark(self, potential):
        return None

    def hazard(self, potential, age, mark):
        return self.escape(potential - AMPLITUDE * jnp.exp(-age / TAU))


def users(escape):
    numbers = jnp.asarray(TAU_M), escape.ours, jnp.asarray(DEAD * DT)
    ours = UsersNeuron(*numbers, MEMORY, DEAD * DT)
    return srm0(escape)._replace(ours=ours)


def srm0(escape, memory=MEMORY):
    kernel = rl.ExponentialRefractory(AMPLITUDE, TAU, DEAD * DT, memory)
    return Type(
        rl.SRM0(TAU_M, escape.ours, kernel),
        escape,
        lambda hs, age, mark: hs - AMPLITUDE * np.exp(-age / TAU),
        memory,
        DEAD,
    )


def lif(escape):
    return Type(
        rl.LIF(TAU_M, escape.ours, V_RESET, DEAD * DT, LONG_MEMORY),
        escape,
        lambda hs, age, mark: hs + (V_RESET - mark) * np.exp(-age / TAU_M),
        LONG_MEMORY,
        DEAD,
    )


def memoryless(escape):
    neuron = rl.SRM0(TAU_M, escape.ours, rl.NoRefractory())
    return Type(neuron, escape, lambda hs, age, mark: hs, 0.0, 0)


TYPES = {
    "exponential": srm0(EXPONENTIAL),
    "sigmoid": srm0(SIGMOID),
    "softplus": srm0(SOFTPLUS),
    "LIF": lif(EXPONENTIAL),
    "LIF sigmoid": lif(SIGMOID),
    "longer memory": srm0(EXPONENTIAL, 7.7 * DT),
    "memoryless": memoryless(SOFTPLUS),
    "user's": users(SOFTPLUS),
}
# Each with a bias of its own; together they are types of memory 5.4, 7.7, 10.4 and no steps beside each other.
BIASES = dict(zip(TYPES, (0.5, -0.3, 1.0, 1.5, 0.8, 0.2, 0.4, 0.6), strict=True))
ALL = list(TYPES)


def populations(*alone):
    """Types alone, where the hazard may be of two factors, and all of them in a mixture: compiling takes the time."""
    names = [*([name] for name in alone), ALL]
    return pytest.mark.parametrize("names", names, ids=[*alone, "all"])


def network(names, copies=1):
    """What is handed on is the activity of each neuron, in steps; copies of a neuron are neighbours."""
    kind = np.repeat(np.arange(len(names)), copies)
    types = [TYPES[name].ours for name in names]
    neuron = types[0] if len(names) == 1 else rl.Mixture(types, kind)
    bias = np.repeat([BIASES[name] for name in names], copies)
    decoder = np.repeat(len(names) * np.eye(len(names)), copies, axis=0)
    return rl.Network([rl.Layer(neuron, np.ones((len(kind), 1)), decoder, bias)])


def activity(names, dynamics, copies=1, key=None):
    run = rl.simulate(network(names, copies), INCREMENTS, GRID, dynamics, key=key)
    return np.asarray(run.increments[0])


def potentials(bias, increments, dt=DT, tau_m=TAU_M):
    """h[0], ..., h[T] of a neuron with an encoder of 1."""
    a, h = np.exp(-dt / tau_m), [bias]
    for dX in increments:
        h.append(bias + a * (h[-1] - bias) + (1.0 - a) / dt * dX)
    return np.array(h)


def acting(escape, h):
    """hs[0], ..., hs[T-1]."""
    rate = escape.rate(h)
    return escape.inverse((rate[1:] + rate[:-1]) / 2.0)


def enumerated(name):
    """All 2^T spike trains (trains, time) of a neuron, and the probability of each."""
    kind, bias = TYPES[name], BIASES[name]
    hs = acting(kind.escape, potentials(bias, INCREMENTS[:, 0]))
    trains = np.array(list(itertools.product((0, 1), repeat=NUM_STEPS)))
    probabilities = np.ones(len(trains))
    for index, train in enumerate(trains):
        last, mark = None, bias
        for n, spike in enumerate(train):
            p = kind.probability(hs[n], None if last is None else n - last, mark)
            probabilities[index] *= p if spike else 1.0 - p
            if spike:
                last, mark = n, hs[n]
    np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-12)
    return trains, probabilities


def mean_interval(kind, hs, dt=DT):
    """In seconds, at constant potential: the sum of all survivors, until nobody is left."""
    survivor, total, steps = np.ones_like(hs), np.zeros_like(hs), 0
    while np.max(survivor / total if steps else survivor) > 1e-16:
        total = total + survivor
        steps += 1
        survivor = survivor * (1.0 - kind.probability(hs, steps, hs))
    return dt * total


@populations("exponential", "sigmoid", "LIF", "user's")
def test_generalised_rate_is_the_sum_over_all_spike_trains(names):
    rates = activity(names, rl.GeneralisedRate())
    for column, name in enumerate(names):
        trains, probabilities = enumerated(name)
        exact = probabilities @ trains
        assert np.all(exact > 1e-3)
        np.testing.assert_allclose(rates[:, column], exact, rtol=1e-10)


@populations("exponential")
def test_spikes_follow_the_same_law(names):
    """2^18 neurons: z-scores of 10 or 80 counts below 5 (false-positive rate 4 * 10^-5 at most).

    So many because a kernel that goes on for half a step beyond `memory` makes 10% of the hazard in few steps.
    """
    copies = 2**18 // len(names)
    spikes = activity(names, rl.Spiking(), copies, jax.random.key(0))
    for column, name in enumerate(names):
        trains, probabilities = enumerated(name)
        exact = probabilities @ trains
        z = (spikes[:, column] - exact) / np.sqrt(exact * (1.0 - exact) / copies)
        assert np.abs(z).max() < 5.0, (name, z)


def test_variance_of_a_readout_is_that_of_all_spike_trains():
    """y <- a y + (1 - a)/dt s: each neuron has an output of its own, which no other reaches."""
    (layer,) = network(ALL).layers
    variance = rl.readout_variance(layer, INCREMENTS, GRID, tau_m=OUTPUT_TAU_M)
    a = np.exp(-DT / OUTPUT_TAU_M)
    for column, name in enumerate(ALL):
        trains, probabilities = enumerated(name)
        y = np.zeros(len(trains))
        for n in range(NUM_STEPS):
            y = a * y + (1.0 - a) / DT * trains[:, n]
            exact = probabilities @ y**2 - (probabilities @ y) ** 2
            np.testing.assert_allclose(variance[n, column], exact, rtol=1e-9)


@populations("exponential")
def test_conventional_rate_is_one_over_the_mean_interval(names):
    rates = activity(names, rl.ConventionalRate(rl.DirectRate())) / DT
    for column, name in enumerate(names):
        kind = TYPES[name]
        hs = acting(kind.escape, potentials(BIASES[name], INCREMENTS[:, 0]))
        exact = 1.0 / mean_interval(kind, hs)
        np.testing.assert_allclose(rates[:, column], exact, rtol=1e-10)


def test_stationary_rate_is_one_over_the_mean_interval_and_what_rates_settle_to():
    grid, bias = rl.TimeGrid(DT, 1000), np.array([BIASES[name] for name in ALL])
    run = rl.simulate(network(ALL), np.zeros((1000, 1)), grid, rl.GeneralisedRate())
    rates = rl.stationary_rate(network(ALL).layers[0].neuron, jnp.asarray(bias), DT)
    exact = [1.0 / mean_interval(TYPES[n], np.array(BIASES[n])) for n in ALL]
    np.testing.assert_allclose(rates, exact, rtol=1e-10)
    np.testing.assert_allclose(run.increments[0][-1] / DT, exact, rtol=1e-9)


DYNAMICS = [rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate(rl.DirectRate())]


@pytest.mark.parametrize("dt", [0.5e-3, 2e-3])
def test_shortest_interval_is_the_dead_time(dt):
    """Driven by a bias of 1000 escape widths, neurons fire as soon as they may: a clock of period dead_time = 2 ms."""
    period, periods = round(2e-3 / dt), 5
    steps = period * periods
    neuron = rl.Mixture([rl.SRM0(), rl.LIF()], [0, 1, 1])
    layer = rl.Layer(neuron, np.zeros((3, 1)), np.ones((3, 1)), 1e3)
    spiking, generalised, conventional = (
        rl.simulate(
            rl.Network([layer]),
            np.zeros((steps, 1)),
            rl.TimeGrid(dt, steps),
            dynamics,
            key=jax.random.key(0),
        ).rates[0]
        for dynamics in DYNAMICS
    )
    clock = np.where(np.arange(steps) % period == 0, 1.0 / dt, 0.0)
    np.testing.assert_allclose(spiking, clock, rtol=1e-12)
    np.testing.assert_allclose(generalised, clock, rtol=1e-10)
    np.testing.assert_allclose(conventional, 500.0, rtol=1e-10)
    stationary = rl.stationary_rate(neuron, jnp.full(3, 1e3), dt)
    np.testing.assert_allclose(stationary, 500.0, rtol=1e-10)


@pytest.mark.parametrize("escapes", [[EXPONENTIAL], [EXPONENTIAL, SIGMOID, SOFTPLUS]])
def test_without_memory_both_rates_are_the_same(escapes):
    """To the last digits, and that of a Poisson process with the mean rate of both ends of the step."""
    size = len(escapes)
    neurons = [memoryless(escape).ours for escape in escapes]
    neuron = neurons[0] if size == 1 else rl.Mixture(neurons, np.arange(size))
    bias, encoder = np.linspace(1.0, 0.0, size), np.linspace(2.0, 1.0, size)
    layer = rl.Layer(neuron, encoder[:, None], size * np.eye(size), bias)
    generalised, conventional = (
        rl.simulate(rl.Network([layer]), INCREMENTS, GRID, dynamics).increments[0]
        for dynamics in DYNAMICS[1:]
    )
    np.testing.assert_allclose(generalised, conventional, rtol=1e-12)
    for i, escape in enumerate(escapes):
        rate = escape.rate(potentials(bias[i], encoder[i] * INCREMENTS[:, 0]))
        exact = -np.expm1(-DT * (rate[1:] + rate[:-1]) / 2.0)
        np.testing.assert_allclose(generalised[:, i], exact, rtol=1e-11)


def test_mean_rate_under_white_noise_is_unbiased():
    r"""E f(h) = rate exp(b + v/2), v the variance of h, at a step of 0.4 tau_m; within 4.5 standard errors of 0.6%.

    v = gain^2 tanh(x)/x, x = dt/(2 tau_m), of h at the ends of steps (gain^2 as dt -> 0). f of the mean of both ends
    would be too low by gain^2 (1 - a)/4 (about dt/(4 tau_m), here 8%), f of the beginning would be right too.
    Firing is so rare that 1 - exp(-dt f) is dt f.
    """
    dt, tau_m, neurons, steps, burn_in = 4e-3, 10e-3, 1500, 120, 20
    generator = np.random.default_rng(0)
    increments = np.sqrt(2.0 * tau_m * dt) * generator.normal(size=(steps, neurons))
    neuron = rl.SRM0(tau_m, rl.ExponentialEscape(1e-4), rl.NoRefractory())
    eye = np.eye(neurons)  # each neuron hears a noise of its own
    network = rl.Network([rl.Layer(neuron, eye, neurons * eye, 0.5)])
    run = rl.simulate(network, increments, rl.TimeGrid(dt, steps), rl.GeneralisedRate())
    means = np.asarray(run.increments[0])[burn_in:].mean(axis=0) / dt
    x = dt / (2.0 * tau_m)
    ratios = means / (1e-4 * np.exp(0.5 + 0.5 * np.tanh(x) / x))
    error = ratios.std() / np.sqrt(neurons)
    assert error < 0.01
    assert abs(ratios.mean() - 1.0) < 4.5 * error
    a = np.exp(-dt / tau_m)
    assert abs(ratios.mean() - (1.0 - (1.0 - a) / 4.0)) > 4.5 * error


def test_error_of_a_smooth_input_falls_with_the_square_of_the_step():
    """Steps of 2, 1 and 0.5 ms against 0.0625 ms: a factor of 4 each time. At first order it would be 2.

    Also where neurons are likely to fire as soon as their dead time is over: with all of the hazard in the first step
    after it, the first two come to factors of 2.1 and 2.0.
    """
    duration, frequency = 0.2, 8.0
    alone = rl.ExponentialRefractory(0.0, 10e-3, 4e-3, 60e-3)
    kinds = [rl.SRM0(refractory=alone), rl.LIF(v_reset=-1.0, memory=60e-3)]
    neuron = rl.Mixture(kinds, [0, 0, 1, 1])
    encoder, bias = [[1.5], [-1.0], [1.5], [-1.0]], [1.0, 0.0, 1.0, 0.0]
    layer = rl.Layer(neuron, encoder, 1e-2 * np.eye(4), bias)

    def outputs(dt):
        """At multiples of 2 ms."""
        steps, every = round(duration / dt), round(2e-3 / dt)
        path = 2e-2 * np.sin(2 * np.pi * frequency * dt * np.arange(steps + 1))
        increments, grid = np.diff(path)[:, None], rl.TimeGrid(dt, steps)
        run = rl.simulate(rl.Network([layer]), increments, grid, rl.GeneralisedRate())
        return np.asarray(run.outputs)[every - 1 :: every]

    finest = outputs(0.0625e-3)
    errors = [np.abs(outputs(dt) - finest).mean(axis=0) for dt in (2e-3, 1e-3, 0.5e-3)]
    ratios = np.divide(errors[:-1], errors[1:])
    assert np.all((ratios > 3.3) & (ratios < 4.7)), ratios
