r"""The discrete renewal process of one neuron: age bins, firing probabilities, stationary rate.

Age index k counts the steps since the step of the last spike; it is 0 in the step after it. A spike of a step is somewhere
in it, so that the age is (k + 1) dt on average. There are memory/dt ages, rounded up: the last bin absorbs, and its age is
`memory`, on the grid or not.
"""

import itertools
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ratelike._escape import AbstractSeparableEscape
from ratelike._neuron import SRM0, AbstractNeuron, Mixture
from ratelike._neuron._history import (
    AbstractExpectedNeuron,
    Mark,
    expected_neuron,
    faded,
)
from ratelike._numerics._exponential import one_minus_exp
from ratelike._refractory import ExponentialRefractory

# Of the stationary rate with adaptation: 30 widths of input potential need about so many.
NEWTON_STEPS = 36
LAST_BIN_STEPS = 24


def num_ages(neuron: AbstractNeuron, dt: float) -> int:
    """The number of age bins: memory/dt rounded up, to one part in 10^4 of a step, and at least one."""
    return max(math.ceil(neuron.memory / dt - 1e-4), 1)


def oldest_age(neuron: AbstractNeuron, dt: float) -> int:
    """The index of the last bin."""
    return num_ages(neuron, dt) - 1


def in_seconds(
    neuron: AbstractNeuron, index: Float[Array, "..."], dt: float
) -> Float[Array, "..."]:
    """The age of each index, on which the hazard depends: (k + 1) dt, at most `memory`."""
    return jnp.minimum((index + 1.0) * dt, neuron.memory)


def ages(neuron: AbstractNeuron, dt: float, dtype) -> Float[Array, "ages 1"]:
    """The age of each bin in seconds, as a column that broadcasts against neurons."""
    return in_seconds(
        neuron, jnp.arange(num_ages(neuron, dt), dtype=dtype)[:, None], dt
    )


def hazard(
    neuron: AbstractNeuron,
    potential: Float[Array, "..."],
    age: Float[Array, "..."],
    mark: PyTree[Float[Array, "..."]],
) -> Float[Array, "..."]:
    """rho(h, a, mark) in hertz, zero within the dead time and half of it at its end.

    Age and dead time are multiples of dt, computed in different ways: they are compared with a tolerance.
    """
    return _after_dead_time(neuron, age, neuron.hazard(potential, age, mark))


def successive_hazards(
    neuron: AbstractNeuron,
    ends: Sequence[Float[Array, " neurons"]],
    potentials: Sequence[Float[Array, " neurons"]],
    age: Float[Array, " neurons"],
    marks: Sequence[Mark],
    dt: float,
) -> list[Float[Array, " neurons"]]:
    """rho in steps that follow one another without a spike, `age` (an index) being that of the first one.

    `ends` are the potentials between the steps, `potentials` those that act in them.
    """
    oldest = oldest_age(neuron, dt)
    ages = [
        in_seconds(neuron, jnp.minimum(age + k, oldest), dt)
        for k in range(len(potentials))
    ]
    if not isinstance(neuron, SRM0):
        return [
            hazard(neuron, h, a, mark)
            for h, a, mark in zip(potentials, ages, marks, strict=True)
        ]
    if isinstance(neuron.refractory, ExponentialRefractory):
        offsets = neuron.refractory.at_successive_ages(ages[0], dt, len(ages))
    else:
        offsets = [neuron.refractory(a) for a in ages]
    if neuron.is_separable:
        assert isinstance(neuron.escape, AbstractSeparableEscape)
        means = mean_escape_rates(neuron, ends)
        hazards = [
            mean * neuron.escape.ratio(offset)
            for mean, offset in zip(means, offsets, strict=True)
        ]
    else:
        hazards = [
            neuron.escape(h + offset)
            for h, offset in zip(potentials, offsets, strict=True)
        ]
    return [
        _after_dead_time(neuron, a, rho) for a, rho in zip(ages, hazards, strict=True)
    ]


def mean_escape_rates(
    neuron: SRM0, ends: Sequence[Float[Array, " neurons"]]
) -> list[Float[Array, " neurons"]]:
    """f(hs) in successive steps: the mean of f at both ends of each."""
    rates = [neuron.escape(h) for h in ends]
    return [0.5 * (a + b) for a, b in itertools.pairwise(rates)]


def hazard_ratio(neuron: SRM0, age: Float[Array, "..."]) -> Float[Array, "..."]:
    """rho(h, a) / f(h) of a separable neuron."""
    return _after_dead_time(neuron, age, neuron.ratio(age))


def own_memory(neuron: AbstractNeuron) -> float | Float[Array, " neurons"]:
    """In a mixture that of each neuron's type."""
    if isinstance(neuron, Mixture):
        memories = [
            jnp.asarray(each.memory, neuron.tau_m.dtype) for each in neuron.neurons
        ]
        return neuron.select(memories)
    return neuron.memory


def _after_dead_time(neuron: AbstractNeuron, age, value):
    """Half of the hazard where the age is the dead time.

    Of the moments of two steps that are a dead time apart, half are less apart. With all of the hazard the dead time would
    be too short by dt/2, an error of first order wherever neurons are likely to fire there. An age of `memory` stands for
    all later ones.
    """
    is_over = (age >= neuron.dead_time * (1.0 + 1e-4)) | (age >= own_memory(neuron))
    at_its_end = jnp.where(age >= neuron.dead_time * (1.0 - 1e-4), 0.5 * value, 0.0)
    return jnp.where(is_over, value, at_its_end)


def firing_probability(hazard: Float[Array, "..."], dt: float) -> Float[Array, "..."]:
    """p = 1 - exp(-dt rho), the chance to fire in a step of constant hazard, without cancellation."""
    return one_minus_exp(dt * hazard)


# Compiled once: the loop over ages by itself would be compiled anew in every call.
@eqx.filter_jit
def stationary_rate(
    neuron: AbstractNeuron, potential: Float[Array, "... #neurons"], dt: float
) -> Float[Array, "... neurons"]:
    r"""g(h) in hertz: the rate of the discrete renewal process at constant input potential h.

    With survivors S_0 = 1, S_{k+1} = S_k (1 - p_k), and an absorbing last bin K, the mean interval is

        (1/g) = dt (S_0 + ... + S_{K-1} + S_K / p_K).

    No closed form is assumed. *Neuronal Dynamics*, section 7.5 (renewal statistics), in discrete time.

    For a neuron with adaptation the p_k depend on the traces that the rate itself has left: g solves g = F(h, g), and is
    what the generalised rate comes to at constant h.
    """
    neuron = expected_neuron(neuron)
    if not isinstance(neuron, AbstractExpectedNeuron):
        return _renewal_rate(neuron, potential, neuron.mark(potential), dt)

    def excess(rate):
        mark = neuron.mark_of_spike(neuron.stationary_trace(rate, dt))
        return _renewal_rate(neuron, potential, mark, dt) - rate

    def with_slope(rate):
        return jax.jvp(excess, (rate,), (jnp.ones_like(rate),))

    def newton(carry, _):
        rate, low, high = carry
        value, slope = with_slope(rate)
        low, high = (
            jnp.where(value > 0.0, rate, low),
            jnp.where(value < 0.0, rate, high),
        )
        new = rate - value / slope
        inside = ((new > low) & (new < high)) | (value == 0.0)
        return (jnp.where(inside, new, 0.5 * (low + high)), low, high), None

    # The excess falls where adaptation lowers the rate. Where the hazard is steep Newton's method alone would go back and
    # forth between silence and saturation: it is kept between bounds, and halves what is between them instead.
    shape = jax.eval_shape(excess, jnp.zeros((), potential.dtype))
    silent = jnp.zeros(shape.shape, shape.dtype)
    start = silent, silent, jnp.full_like(silent, 1.0 / dt)
    (solution, _, _), _ = jax.lax.scan(newton, start, length=NEWTON_STEPS)
    # One more step, through which alone there is a derivative: that of the implicit function.
    solution = jax.lax.stop_gradient(solution)
    slope = jax.lax.stop_gradient(with_slope(solution)[1])
    return solution - excess(solution) / slope


def _renewal_rate(
    neuron: AbstractNeuron,
    potential: Float[Array, "... #neurons"],
    mark: Mark,
    dt: float,
) -> Float[Array, "... neurons"]:
    """The stationary rate where `mark` is that of each spike."""
    num = num_ages(neuron, dt)
    index = jnp.arange(num, dtype=potential.dtype)

    def next_age(carry, k):
        survivor, steps = carry
        mark_then = faded(neuron, mark, (k + 1.0) * dt)
        rho = hazard(neuron, potential, in_seconds(neuron, k, dt), mark_then)
        return (survivor * jnp.exp(-dt * rho), steps + survivor), None

    oldest = in_seconds(neuron, index[-1], dt)
    if isinstance(neuron, AbstractExpectedNeuron):
        incoming = faded(neuron, mark, num * dt)
        last = _last_bin(neuron, potential, oldest, incoming, dt)
    else:
        last = firing_probability(hazard(neuron, potential, oldest, mark), dt)
    # The shape of `last`, not of the potential: parameters may differ between neurons that share it.
    carry = (jnp.ones_like(last), jnp.zeros_like(last))
    (survivor, steps), _ = jax.lax.scan(next_age, carry, index[:-1])
    # g = p_K / (p_K steps + S_K) stays finite, with its gradient, where p_K underflows.
    return last / (last * steps + survivor) / dt


def _last_bin(neuron, potential, age, incoming, dt: float) -> Float[Array, "..."]:
    """The chance to fire in the last bin, with the mean of marks that come in and of those that have faded there.

    Of the neurons of the bin the share p comes in anew in each step, with the mark m: the mean mark M is
    p m + (1 - p) M faded by a step, and p depends on it.
    """
    factors = faded(neuron, jax.tree.map(jnp.ones_like, incoming), dt)

    def step(probability, _):
        def mean(m, factor):
            return m * probability / (1.0 - factor * (1.0 - probability))

        marks = jax.tree.map(mean, incoming, factors)
        new = firing_probability(hazard(neuron, potential, age, marks), dt)
        return 0.5 * (probability + new), None

    start = firing_probability(hazard(neuron, potential, age, incoming), dt)
    return jax.lax.scan(step, start, length=LAST_BIN_STEPS)[0]
