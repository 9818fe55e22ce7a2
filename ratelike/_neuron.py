"""Neurons with memory of their last spike (renewal neurons)."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from equinox import AbstractVar
from jaxtyping import Array, ArrayLike, Float, PyTree

from ratelike import _validation as validation
from ratelike._escape import (
    AbstractEscape,
    AbstractSeparableEscape,
    ExponentialEscape,
)
from ratelike._refractory import AbstractRefractory, ExponentialRefractory


class AbstractNeuron(eqx.Module):
    """A neuron whose firing depends on its input potential h and on its last spike.

    The last spike acts through the age a (time since it) and through a *mark*: what the reset fixed at the time of the
    spike, and which then travels with the age. SRM0 has no mark; that of a leaky integrate-and-fire neuron is h at the
    spike. Parameters are scalars or (neurons,) arrays. Functions act elementwise, so that one definition serves a
    vector of spiking neurons and a matrix (ages, neurons) of a refractory density.
    """

    tau_m: AbstractVar[Float[Array, "#neurons"]]  # s; membrane time constant

    @property
    @abc.abstractmethod
    def dead_time(self) -> Float[Array, "#neurons"]:
        """Seconds after a spike in which no other can follow."""

    @property
    @abc.abstractmethod
    def shortest_dead_time(self) -> float:
        """Static lower bound of `dead_time` over neurons, in seconds."""

    @property
    @abc.abstractmethod
    def memory(self) -> float:
        """Static age in seconds from which on the age no longer matters."""

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


class SRM0(AbstractNeuron):
    r"""Spike response model with escape noise: u = h + eta(a), rho = f(u), and rho = 0 within the dead time.

    The input potential h = b + kappa * I, kappa(s) = exp(-s/tau_m)/tau_m, is not reset by a spike; the refractory
    kernel eta of the *last* spike adds to it. The generalised rate of this neuron is exact.

    `tau_m` is in seconds, a scalar or one value per neuron.

    *Neuronal Dynamics*, section 6.4 and chapter 9.

    Raises `ValueError` unless `tau_m` > 0.
    """

    tau_m: Float[Array, "#neurons"]
    escape: AbstractEscape
    refractory: AbstractRefractory

    def __init__(
        self,
        tau_m: ArrayLike = 10e-3,
        escape: AbstractEscape | None = None,
        refractory: AbstractRefractory | None = None,
    ):
        self.tau_m = validation.parameter("SRM0.tau_m", tau_m, above=0.0)
        self.escape = ExponentialEscape() if escape is None else escape
        self.refractory = ExponentialRefractory() if refractory is None else refractory
        validation.instance("SRM0.escape", self.escape, AbstractEscape)
        validation.instance("SRM0.refractory", self.refractory, AbstractRefractory)

    @property
    def dead_time(self) -> Float[Array, "#neurons"]:
        return self.refractory.dead_time

    @property
    def shortest_dead_time(self) -> float:
        return self.refractory.shortest_dead_time

    @property
    def memory(self) -> float:
        return self.refractory.memory

    def mark(self, potential: Float[Array, "..."]) -> None:
        return None

    def hazard(
        self,
        potential: Float[Array, "..."],
        age: Float[Array, "..."],
        mark: None,
    ) -> Float[Array, "..."]:
        offset = self.refractory(age)
        # A table over ages times a vector over neurons, when neurons share their kernel.
        is_table = jnp.size(offset) < jnp.size(potential + offset)
        if is_table and isinstance(self.escape, AbstractSeparableEscape):
            return self.escape(potential) * self.escape.ratio(offset)
        return self.escape(potential + offset)


def is_homogeneous(neuron: AbstractNeuron) -> bool:
    """Whether all neurons share their parameters."""
    return all(jnp.ndim(leaf) == 0 for leaf in jax.tree.leaves(neuron))


def check_neuron(name: str, neuron: AbstractNeuron, num_neurons: int) -> None:
    """The parameters fit the population."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(neuron):
        if not eqx.is_array(leaf):
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} must be an array or a static field, got {leaf!r}"
            )
        if jnp.shape(leaf) not in ((), (num_neurons,)):
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} must be a scalar or have shape ({num_neurons},), "
                f"got shape {jnp.shape(leaf)}"
            )


def check_dead_time(name: str, neuron: AbstractNeuron, dt: float) -> None:
    """The dead time is a multiple of the time step (to one part in 10^4 of a step), and fits the static fields."""
    shortest, memory = neuron.shortest_dead_time, neuron.memory
    dead_times = np.asarray([shortest])
    if validation.is_concrete(neuron.dead_time):
        dead_times = np.unique(np.asarray(neuron.dead_time, dtype=float))
    # A dead time stored in float32 is off by a rounding error; a grid that does not fit is off by much more.
    off = np.abs(dead_times / dt - np.round(dead_times / dt)) > 1e-4
    if np.any(off):
        raise ValueError(
            f"{name}.dead_time must be a multiple of the step dt = {dt:g} s, got {dead_times[off][0]:g} s"
        )
    # An edit of the array alone (`eqx.tree_at`) leaves the static fields behind, and the spikes would be wrong.
    if np.any(dead_times < shortest * (1.0 - 1e-6)):
        raise ValueError(
            f"{name}.dead_time must be at least its shortest_dead_time = {shortest:g} s, got {dead_times.min():g} s; "
            "make a new neuron to shorten it"
        )
    if np.any(dead_times * (1.0 - 1e-6) > memory):
        raise ValueError(
            f"{name}.dead_time must be at most its memory = {memory:g} s, got {dead_times.max():g} s"
        )


def dead_steps(neuron: AbstractNeuron, dt: float) -> int:
    """Steps of the shortest dead time: a neuron that fired in step n cannot fire before step n + dead_steps + 1."""
    return round(neuron.shortest_dead_time / dt)
