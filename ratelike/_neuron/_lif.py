"""The leaky integrate-and-fire neuron with escape noise."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._escape import AbstractEscape, ExponentialEscape
from ratelike._neuron._renewal_neuron import AbstractNeuron
from ratelike._refractory._base import checked_span
from ratelike._types import Numbers
from ratelike._validation import _plausibility as plausibility

# exp(-10) of a reset is left at most: 3 * 10^-4 of an escape width for a reset by six widths.
MEMORY_IN_TAU_M = 10.0
# Mantissas of the default memory.
ROUND_NUMBERS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)


class LIF(AbstractNeuron):
    r"""Leaky integrate-and-fire neuron with escape noise: u = h + (v_reset - h_s) exp(-a / tau_m), rho = f(u).

    a is the age and h_s the input potential at the last spike (that of its step); rho = 0 within the dead time. A spike resets
    the membrane potential u, and what the reset took away decays with the membrane: the equation is the solution of
    tau_m du/dt = b - u + I with u = v_reset at the spike, written so that h needs no reset. h_s is the neuron's *mark*.

    `tau_m` (s), `v_reset` (units of the potential) and `dead_time` (s) are scalars or one value per neuron. The default
    `v_reset` lies five escape widths below threshold for the default escape rate, and six below the default bias of
    `relay_network`. `memory` (s, static) is the age from which on the exponential no longer falls. By default it is ten
    times the (largest) tau_m, rounded up to 1, 1.5, 2, 3, 4, 6 or 8 times a power of ten: a simulation compiles anew for
    each value of it, so name one (such as that of the largest tau_m) where many tau_m are to be tried.

    *On the grid.* The age is dt in the step after that of the spike, since a spike of a step is somewhere in it, in its
    middle on average.

    *In the dead time* the membrane goes on integrating from v_reset, and only firing is suppressed. Simulators that
    clamp the potential until the dead time is over model another neuron.

    *Exactness.* The refractory density carries the mark with the age, and the generalised rate is the exact expectation
    for all ages below `memory`. The last bin holds neurons of different marks and knows their mean only: the relative
    error of their hazard is about Var(h_s) exp(-2 memory / tau_m) / (2 width^2), of the order of 10^-9 by default.
    That `memory` is finite at all also changes the neuron itself, spiking and rate alike: a reset leaves
    (v_reset - h_s) exp(-memory / tau_m) behind, 3 * 10^-4 widths by default, and neurons that have never fired feel it
    too. Diffrax's own solvers (the method of lines) do not move marks and refuse this neuron.

    *Cost.* The potential of every neuron and age is its own: one exponential per neuron and age, where `SRM0` with
    neurons alike has none, and twice the state. See `benchmarks/README.md` for the ratio. Spiking costs the same.

    *Neuronal Dynamics*, section 1.3 (leaky integrate-and-fire), section 9.1 (escape noise) and chapter 14 (densities).

    Raises `ValueError` unless `tau_m` > 0, `dead_time` >= 0, `memory` >= `dead_time`, `memory` > 0 and all are finite,
    and where `tau_m` is being traced and no `memory` is given.
    """

    tau_m: Float[Array, "*#neurons"]
    escape: AbstractEscape
    v_reset: Float[Array, "*#neurons"]  # potential
    dead_time: Float[Array, "*#neurons"]  # s
    memory: float = eqx.field(static=True)  # s
    shortest_dead_time: float = eqx.field(static=True)  # s

    def __init__(
        self,
        tau_m: Numbers = 10e-3,
        escape: AbstractEscape | None = None,
        v_reset: Numbers = -5.0,
        dead_time: Numbers = 2e-3,
        memory: float | None = None,
    ) -> None:
        self.tau_m = plausibility.time_constant("LIF.tau_m", tau_m)
        self.escape = ExponentialEscape() if escape is None else escape
        validation.instance("LIF.escape", self.escape, AbstractEscape)
        self.v_reset = validation.parameter("LIF.v_reset", v_reset)
        if memory is None:
            memory = _default_memory(tau_m)
        validation.number("LIF.memory", memory, above=0.0)
        self.dead_time, self.shortest_dead_time, self.memory = checked_span(
            "LIF", dead_time, memory
        )

    def mark(self, potential: Float[Array, "..."]) -> Float[Array, "..."]:
        return potential

    def hazard(
        self,
        potential: Float[Array, "..."],
        age: Float[Array, "..."],
        mark: Float[Array, "..."],
    ) -> Float[Array, "..."]:
        left = jnp.exp(-jnp.minimum(age, self.memory) / self.tau_m)
        return self.escape(potential + (self.v_reset - mark) * left)


def _default_memory(tau_m: Numbers) -> float:
    if not validation.is_concrete(tau_m):
        raise ValueError(
            "LIF.memory must be given where tau_m is being traced, because it sets an array's size; got None"
        )
    memory = MEMORY_IN_TAU_M * float(np.max(np.asarray(tau_m, dtype=float)))
    power = 10.0 ** math.floor(math.log10(memory))
    # A tau_m in float32 is off by a rounding error.
    number = next(n for n in ROUND_NUMBERS if n * power >= memory * (1.0 - 1e-6))
    return float(f"{number * power:.3g}")
