"""Refractory kernels: what the last spike adds to the membrane potential, and for how long no spike can follow it."""

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, ArrayLike, Float

from ratelike import _validation as validation


class AbstractRefractory(eqx.Module):
    """A refractory kernel eta(a) of the age a, the time since the last spike.

    A new one needs `__call__`, elementwise, and the three fields below. `memory` and `shortest_dead_time` set array
    sizes and are therefore static.
    """

    dead_time: AbstractVar[Float[Array, "#neurons"]]  # s; no spike at ages below it
    memory: AbstractVar[float]  # s; the kernel is constant beyond it
    shortest_dead_time: AbstractVar[float]  # s; of all neurons

    @abc.abstractmethod
    def __call__(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """eta(a), in units of the potential."""


class ExponentialRefractory(AbstractRefractory):
    r"""eta(a) = -amplitude exp(-a / tau) up to a = memory, constant beyond; no spike while a < dead_time.

    `amplitude` has the units of the potential, all else is in seconds. All but `memory` may be one value per neuron.
    The dead time has to be a multiple of the time step of the simulation. A `dead_time` that is itself being traced
    costs the spiking simulation its shortcut: one random number per neuron and dead time instead of one per step.

    *Neuronal Dynamics*, section 6.4 (spike response model), with one exponential.

    Raises `ValueError` unless `tau` > 0, `dead_time` >= 0, `memory` >= `dead_time` and all are finite.
    """

    amplitude: Float[Array, "#neurons"]  # potential
    tau: Float[Array, "#neurons"]  # s
    dead_time: Float[Array, "#neurons"]  # s
    memory: float = eqx.field(static=True)  # s
    shortest_dead_time: float = eqx.field(static=True)  # s

    def __init__(
        self,
        amplitude: ArrayLike = 5.0,
        tau: ArrayLike = 20e-3,
        dead_time: ArrayLike = 2e-3,
        memory: float = 100e-3,
    ):
        owner = "ExponentialRefractory."
        self.amplitude = validation.parameter(owner + "amplitude", amplitude)
        self.tau = validation.parameter(owner + "tau", tau, above=0.0)
        self.dead_time = validation.parameter(
            owner + "dead_time", dead_time, at_least=0.0
        )
        self.memory = validation.number(owner + "memory", memory, at_least=0.0)
        self.shortest_dead_time = 0.0
        if validation.is_concrete(dead_time):
            seconds = np.asarray(dead_time, dtype=float)
            self.shortest_dead_time = float(seconds.min())
            # A dead time that comes in float32 is off by a rounding error.
            if self.memory < seconds.max() * (1.0 - 1e-6):
                raise ValueError(
                    f"{owner}memory must be at least the dead time of {seconds.max():g} s, got {memory:g} s"
                )

    def __call__(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        return -self.amplitude * jnp.exp(-jnp.minimum(age, self.memory) / self.tau)


class NoRefractory(AbstractRefractory):
    """eta = 0 and no dead time: the neuron forgets its spikes and is linear-nonlinear-Poisson."""

    dead_time: Float[Array, ""]  # s
    memory: float = eqx.field(static=True)  # s
    shortest_dead_time: float = eqx.field(static=True)  # s

    def __init__(self):
        self.dead_time = jnp.zeros(())
        self.memory = 0.0
        self.shortest_dead_time = 0.0

    def __call__(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.zeros_like(age)
