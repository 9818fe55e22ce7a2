"""Neurons with known answers, and brute force in plain NumPy, written from the equations and not from the library."""

import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import ratelike as rl


class SaturatingRefractory(rl.extend.AbstractRefractory):
    """eta(a) = log(1 - exp(-a/tau)): the hazard recovers exponentially (Neuronal Dynamics, ch. 14 exercises)."""

    tau: float = eqx.field(static=True)
    dead_time: Array
    memory: float = eqx.field(static=True)
    shortest_dead_time: float = eqx.field(static=True)

    def __init__(self, tau, memory):
        self.tau, self.memory = tau, memory
        self.dead_time, self.shortest_dead_time = jnp.zeros(()), 0.0

    def __call__(self, age):
        return jnp.log(-jnp.expm1(-jnp.minimum(age, self.memory) / self.tau))


class ResetNeuron(rl.extend.AbstractNeuron):
    """A leaky integrate-and-fire neuron with escape noise: the mark is h at the last spike."""

    tau_m: Array
    escape: rl.ExponentialEscape
    v_reset: float = eqx.field(static=True)
    span: float = eqx.field(static=True)

    @property
    def memory(self):
        return self.span

    @property
    def dead_time(self):
        return jnp.zeros_like(self.tau_m)

    @property
    def shortest_dead_time(self):
        return 0.0

    def mark(self, potential):
        return potential

    def hazard(self, potential, age, mark):
        memory = jnp.exp(-age / self.tau_m)
        return self.escape(potential + (self.v_reset - mark) * memory)


def potentials_at_ends(encoder, bias, increments, tau_m, dt):
    """h[n], n = 0, ..., T, of every neuron; (ends, neurons)."""
    a = np.exp(-dt / tau_m)
    h = np.array(bias, dtype=float)
    out = [h]
    for dX in increments:
        h = bias + a * (h - bias) + (1 - a) / dt * (encoder @ dX)
        out.append(h)
    return np.array(out)


def acting_exponential(start, end, width=1.0):
    """Where exp(u / width) is the mean of that at both ends."""
    return width * np.log(0.5 * (np.exp(start / width) + np.exp(end / width)))


def potentials(encoder, bias, increments, tau_m, dt, acting=acting_exponential):
    """The potential that acts in each step; (time, neurons)."""
    ends = potentials_at_ends(encoder, bias, increments, tau_m, dt)
    return acting(ends[:-1], ends[1:])


def after_dead_time(age, dead_time, memory):
    """0, one half at its end (unless that is the memory, which stands for all later ages), 1."""
    is_over = (age > dead_time + 1e-9) | (age >= memory)
    return np.where(is_over, 1.0, np.where(age > dead_time - 1e-9, 0.5, 0.0))


def srm0_hazard(h, age, *, rate, amplitude, tau, dead_time, memory):
    """rho in hertz of the default kind of neuron at age `age` in seconds."""
    rho = rate * np.exp(h - amplitude * np.exp(-min(age, memory) / tau))
    return rho * after_dead_time(age, dead_time, memory)


def expected_activity_by_enumeration(h, hazard, dt, memory, rest=None):
    """Sums over all 2^T spike trains of one neuron: its firing probability in each step.

    `hazard(h, age, mark)`, with the h of the last spike as mark; no spike before the beginning: age = memory, and the
    mark is `rest`. In the k-th step after a spike the age is k dt.
    """
    num_steps = len(h)
    expected = np.zeros(num_steps)
    for train in itertools.product((0, 1), repeat=num_steps):
        probability, last, mark = 1.0, None, rest
        for n, spike in enumerate(train):
            age = memory if last is None else min((n - last) * dt, memory)
            p = -np.expm1(-dt * hazard(h[n], age, mark))
            probability *= p if spike else 1.0 - p
            if spike:
                last, mark = n, h[n]
        expected += probability * np.array(train)
    return expected


def activity_by_renewal_equation(h, hazard, dt, memory):
    """Discrete renewal equation: each spike step starts a cohort that is followed until it fires."""
    num_steps = len(h)
    activity = np.zeros(num_steps)
    births = [(-(10**9), 1.0)]  # step of the last spike, surviving fraction
    for n in range(num_steps):
        survivors = []
        for step, alive in births:
            age = min((n - step) * dt, memory)
            p = -np.expm1(-dt * hazard(h[n], age))
            activity[n] += alive * p
            survivors.append((step, alive * (1.0 - p)))
        births = [*survivors, (n, activity[n])]
    return activity


def single_neuron_layer(neuron, bias=0.0, gain=0.0):
    return rl.Layer(neuron, [[gain]], [[1.0]], bias)
