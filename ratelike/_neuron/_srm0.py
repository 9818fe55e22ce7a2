"""The spike response model."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ratelike import _plausibility as plausibility
from ratelike import _validation as validation
from ratelike._escape import (
    AbstractEscape,
    AbstractSeparableEscape,
    ExponentialEscape,
)
from ratelike._neuron._base import AbstractNeuron
from ratelike._refractory import AbstractRefractory, ExponentialRefractory


class SRM0(AbstractNeuron):
    r"""Spike response model with escape noise: u = h + eta(a), rho = f(u), and rho = 0 within the dead time.

    The input potential h = b + kappa * I, kappa(s) = exp(-s/tau_m)/tau_m, is not reset by a spike; the refractory
    kernel eta of the *last* spike adds to it, a being the age. `tau_m` is in seconds, a scalar or one value per neuron.
    `escape` is the escape rate f, by default `ExponentialEscape()`, and `refractory` the kernel with its dead time, by
    default `ExponentialRefractory()`; any pair of them will do.

    *Exactness.* A spike leaves nothing behind but its age, so the generalised rate is the exact expectation of the
    discrete spiking neuron, for every kernel and escape rate, at any dt. (With `NoRefractory` the neuron has no memory,
    and the generalised rate is the conventional one.)

    *Cost.* The refractory density has memory/dt + 1 bins. Where neurons share the kernel and f is exponential, f(h) and
    exp(eta(a)) are computed apart and multiplied; any other pair computes f for each neuron and age.
    `benchmarks/README.md` has the ratios. `NoRefractory` has one bin.

    *Neuronal Dynamics*, section 6.4 (spike response model) and chapter 9 (escape noise).

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
        self.tau_m = plausibility.time_constant("SRM0.tau_m", tau_m)
        self.escape = ExponentialEscape() if escape is None else escape
        self.refractory = ExponentialRefractory() if refractory is None else refractory
        validation.instance("SRM0.escape", self.escape, AbstractEscape)
        validation.instance("SRM0.refractory", self.refractory, AbstractRefractory)

    @property
    def dead_time(self) -> Float[Array, "#neurons"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.dead_time

    @property
    def shortest_dead_time(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.shortest_dead_time

    @property
    def memory(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.memory

    def mark(self, potential: Float[Array, "..."]) -> None:
        return None

    @property
    def is_separable(self) -> bool:
        """Whether rho(h, a) = f(h) ratio(a): f turns sums into products, and neurons share what follows a spike."""
        if not isinstance(self.escape, AbstractSeparableEscape):
            return False
        age = jnp.zeros((), self.dead_time.dtype)
        return jax.eval_shape(lambda: self.ratio(age) * self.dead_time).size == 1

    def ratio(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        """What refractoriness makes of the escape rate, where neurons are separable."""
        assert isinstance(self.escape, AbstractSeparableEscape)
        return self.escape.ratio(self.refractory(age))

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
