"""The spike response model."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from ratelike import _validation as validation
from ratelike._escape import (
    AbstractEscape,
    AbstractSeparableEscape,
    ExponentialEscape,
)
from ratelike._neuron._base import AbstractNeuron
from ratelike._numerics._broadcasting import broadcasts
from ratelike._refractory import AbstractRefractory, ExponentialRefractory
from ratelike._validation import _plausibility as plausibility

# In escape widths, and how many ages are looked at.
LOWEST_RATIO, HIGHEST_RATIO = -45.0, 20.0
AGES = 257


class SRM0(AbstractNeuron):
    r"""Spike response model with escape noise: u = h + eta(a), rho = f(u), and rho = 0 within the dead time.

    The input potential h = b + kappa * I, kappa(s) = exp(-s/tau_m)/tau_m, is not reset by a spike; the refractory
    kernel eta of the *last* spike adds to it, a being the age. `tau_m` is in seconds, a scalar or one value per neuron.
    `escape` is the escape rate f, by default `ExponentialEscape()`, and `refractory` the kernel with its dead time, by
    default `ExponentialRefractory()`; any pair of them will do.

    *Exactness.* A spike leaves nothing behind but its age, so the generalised rate is the exact expectation of the
    discrete spiking neuron, for every kernel and escape rate, at any dt. (With `NoRefractory` the neuron has no memory,
    and the generalised rate is the conventional one.)

    *Cost.* The refractory density has memory/dt bins. Where neurons share the kernel and f is exponential, f(h) and
    exp(eta(a)) are computed apart and multiplied, if eta keeps within -45 and 20 widths of f (`has_moderate_kernel`,
    which is decided when the neuron is made, and not where its parameters are being traced); any other pair computes f
    for each neuron and age. `benchmarks/README.md` has the ratios. `NoRefractory` has one bin.

    *Neuronal Dynamics*, section 6.4 (spike response model) and chapter 9 (escape noise).

    Raises `ValueError` unless `tau_m` > 0.
    """

    tau_m: Float[Array, "#neurons"]
    escape: AbstractEscape
    refractory: AbstractRefractory
    has_moderate_kernel: bool = eqx.field(static=True)

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
        self.has_moderate_kernel = kernel_is_moderate(self.escape, self.refractory)

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
        """Whether rho(h, a) = f(h) ratio(a) may be computed as such: f turns sums into products."""
        return self.has_moderate_kernel and isinstance(
            self.escape, AbstractSeparableEscape
        )

    @property
    def shares_ratio(self) -> bool:
        """Whether it is also one ratio(a) for all neurons."""
        if not self.is_separable:
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
        if is_table and self.is_separable:
            assert isinstance(self.escape, AbstractSeparableEscape)
            return self.escape(potential) * self.escape.ratio(offset)
        return self.escape(potential + offset)


@broadcasts
def kernel_is_moderate(escape: AbstractEscape, refractory: AbstractRefractory) -> bool:
    """Whether both factors of a separable hazard keep to numbers whose product is right; not known of traced values."""
    if not validation.is_concrete((escape, refractory)):
        return False
    with jax.ensure_compile_time_eval():
        return bool(ratios_are_moderate(escape, refractory))


def ratios_are_moderate(
    escape: AbstractEscape, refractory: AbstractRefractory
) -> Bool[Array, ""]:
    # Parameters of several types are not yet cast to one of them.
    dtype = jnp.result_type(float)
    escape, refractory = jax.tree.map(lambda x: x.astype(dtype), (escape, refractory))
    if not isinstance(escape, AbstractSeparableEscape):
        return jnp.asarray(False)
    ages = np.linspace(refractory.shortest_dead_time, refractory.memory, AGES)
    ratio = escape.ratio(refractory(jnp.asarray(ages[:, None], dtype)))
    lowest, highest = math.exp(LOWEST_RATIO), math.exp(HIGHEST_RATIO)
    return (jnp.min(ratio) >= lowest) & (jnp.max(ratio) < 0.999 * highest)


def factors_are_right(neuron: AbstractNeuron) -> Bool[Array, ""]:
    """Whether what was decided when the neuron was made still holds for parameters that have changed since."""
    if not isinstance(neuron, SRM0) or not neuron.is_separable:
        return jnp.asarray(True)
    return ratios_are_moderate(neuron.escape, neuron.refractory)
