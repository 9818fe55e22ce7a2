"""The exponential refractory kernel."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._refractory._base import AbstractRecursiveRefractory, checked_span
from ratelike._types import Numbers
from ratelike._validation import _plausibility as plausibility


class ExponentialRefractory(AbstractRecursiveRefractory):
    r"""eta(a) = -amplitude exp(-a / tau) up to a = memory, constant beyond; no spike while a < dead_time.

    `amplitude` has the units of the potential, all else is in seconds. All but `memory` may be one value per neuron.
    The dead time has to be a multiple of the time step of the simulation. A `dead_time` that is itself being traced
    costs the spiking simulation its shortcut: one random number per neuron and dead time instead of one per step.

    *Neuronal Dynamics*, section 6.4 (spike response model), with one exponential.

    Raises `ValueError` unless `tau` > 0, `dead_time` >= 0, `memory` >= `dead_time` and all are finite.
    """

    amplitude: Float[Array, "*#neurons"]  # potential
    tau: Float[Array, "*#neurons"]  # s
    dead_time: Float[Array, "*#neurons"]  # s
    memory: float = eqx.field(static=True)  # s
    shortest_dead_time: float = eqx.field(static=True)  # s

    def __init__(
        self,
        amplitude: Numbers = 5.0,
        tau: Numbers = 20e-3,
        dead_time: Numbers = 2e-3,
        memory: float = 100e-3,
    ) -> None:
        owner = "ExponentialRefractory."
        self.amplitude = validation.parameter(owner + "amplitude", amplitude)
        self.tau = plausibility.time_constant(owner + "tau", tau)
        self.dead_time, self.shortest_dead_time, self.memory = checked_span(
            "ExponentialRefractory", dead_time, memory
        )

    def __call__(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        return -self.amplitude * self._recovery(age)

    def at_successive_ages(
        self, ages: Sequence[Float[Array, "..."]], step: float
    ) -> list[Float[Array, "..."]]:
        """With one exponential for all of them."""
        factor = jnp.exp(-step / self.tau)
        lowest = self._recovery(jnp.full_like(self.tau, self.memory))
        recovery = [self._recovery(ages[0])]
        while len(recovery) < len(ages):
            recovery.append(jnp.maximum(recovery[-1] * factor, lowest))
        return [-self.amplitude * value for value in recovery]

    def _recovery(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(-jnp.minimum(age, self.memory) / self.tau)
