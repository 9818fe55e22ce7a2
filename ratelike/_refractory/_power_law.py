"""The power-law refractory kernel."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._refractory._base import AbstractRefractory, checked_span
from ratelike._types import Numbers


class PowerLawRefractory(AbstractRefractory):
    r"""eta(a) = -amplitude (1 + a / tau)^(-exponent) up to a = memory, constant beyond; no spike while a < dead_time.

    `amplitude` has the units of the potential, `exponent` has none, all else is in seconds. All but `memory` may be
    one value per neuron. The dead time has to be a multiple of the time step of the simulation.

    A power law has no scale on which it ends. What is left of it at `memory` stays, also for neurons that have never
    fired, as if the bias were lower by amplitude (1 + memory/tau)^(-exponent): 0.05 potential widths by default. The
    cost of a refractory density is proportional to `memory`.

    The kernel of the *last* spike only. Spike-triggered currents of cortical neurons decay like a power law over
    seconds and add up over spikes (Pozzorini, Naud, Mensi and Gerstner, Nat. Neurosci. 16, 942, 2013): that is
    adaptation, which a renewal neuron does not have.

    Raises `ValueError` unless `tau` > 0, `exponent` > 0, `dead_time` >= 0, `memory` >= `dead_time` and all are finite.
    """

    amplitude: Float[Array, "*#neurons"]  # potential
    tau: Float[Array, "*#neurons"]  # s
    exponent: Float[Array, "*#neurons"]
    dead_time: Float[Array, "*#neurons"]  # s
    memory: float = eqx.field(static=True)  # s
    shortest_dead_time: float = eqx.field(static=True)  # s

    def __init__(
        self,
        amplitude: Numbers = 5.0,
        tau: Numbers = 10e-3,
        exponent: Numbers = 1.5,
        dead_time: Numbers = 2e-3,
        memory: float = 200e-3,
    ) -> None:
        owner = "PowerLawRefractory."
        self.amplitude = validation.parameter(owner + "amplitude", amplitude)
        self.tau = validation.parameter(owner + "tau", tau, above=0.0)
        self.exponent = validation.parameter(owner + "exponent", exponent, above=0.0)
        self.dead_time, self.shortest_dead_time, self.memory = checked_span(
            "PowerLawRefractory", dead_time, memory
        )

    def __call__(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        growth = jnp.log1p(jnp.minimum(age, self.memory) / self.tau)
        return -self.amplitude * jnp.exp(-self.exponent * growth)
