"""What a neuron with memory of its last spike (a renewal neuron) is."""

import abc

import equinox as eqx
from equinox import AbstractVar
from jaxtyping import Array, Float, PyTree


class AbstractNeuron(eqx.Module):
    """A neuron whose firing depends on its input potential h and on its last spike.

    The last spike acts through the age a (time since it) and through a *mark*: what the reset fixed at the time of the
    spike, and which then travels with the age. SRM0 has no mark; that of a leaky integrate-and-fire neuron is h at the
    spike. Parameters are scalars or (neurons,) arrays. Functions act elementwise, so that one definition serves a
    vector of spiking neurons and a matrix (ages, neurons) of a refractory density.

    *On the grid.* The potential of a step, in `hazard` and `mark`, is the one at which the escape rate is the mean of
    that at both ends of the step. In the step n + k + 1 after a spike in step n the age is (k + 1) dt, or `memory` if
    that is less; a spike is possible where the age is at least `dead_time`. So the shortest interval is `dead_time`, and
    the largest rate 1/`dead_time` (1/dt without one). Where the age is `dead_time` the hazard counts half, since half of
    the moments of two such steps are less than a dead time apart (but not where that is `memory`, too).
    """

    tau_m: AbstractVar[Float[Array, "#neurons"]]  # s; membrane time constant
    dead_time: AbstractVar[Float[Array, "#neurons"]]  # s; no spike at ages below it
    shortest_dead_time: AbstractVar[float]  # s; static, at most that of any neuron
    memory: AbstractVar[
        float
    ]  # s; static, from this age on the age no longer matters; need not be a multiple of dt

    @abc.abstractmethod
    def mark(self, potential: Float[Array, "..."]) -> PyTree[Float[Array, "..."]]:
        """What a spike at input potential `potential` leaves behind; `None` if nothing."""

    @abc.abstractmethod
    def hazard(
        self,
        potential: Float[Array, "..."],
        age: Float[Array, "..."],
        mark: PyTree[Float[Array, "..."]],
    ) -> Float[Array, "..."]:
        """rho(h, a, mark) in hertz, outside the dead time (which the caller applies)."""
