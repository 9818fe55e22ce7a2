"""The alpha-shaped refractory kernel."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._refractory._base import AbstractRefractory, checked_span
from ratelike._types import Numbers
from ratelike._validation import _plausibility as plausibility


class AlphaRefractory(AbstractRefractory):
    r"""eta(a) = -amplitude (a / tau) exp(1 - a / tau) up to a = memory, constant beyond; no spike while a < dead_time.

    An after-hyperpolarisation that builds up: zero at the spike, deepest (-`amplitude`) at a = tau. Right after the
    dead time the neuron is hardly refractory, so strong input makes bursts.

    `amplitude` has the units of the potential, all else is in seconds. All but `memory` may be one value per neuron.
    The dead time has to be a multiple of the time step of the simulation.

    *Neuronal Dynamics*, section 6.4 (spike after-potentials of the spike response model).

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
        tau: Numbers = 10e-3,
        dead_time: Numbers = 2e-3,
        memory: float = 100e-3,
    ) -> None:
        owner = "AlphaRefractory."
        self.amplitude = validation.parameter(owner + "amplitude", amplitude)
        self.tau = plausibility.time_constant(owner + "tau", tau)
        self.dead_time, self.shortest_dead_time, self.memory = checked_span(
            "AlphaRefractory", dead_time, memory
        )

    def __call__(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        phase = jnp.minimum(age, self.memory) / self.tau
        return -self.amplitude * phase * jnp.exp(1.0 - phase)
