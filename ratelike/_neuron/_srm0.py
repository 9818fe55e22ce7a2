"""The spike response model."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._escape import AbstractEscape, ExponentialEscape, ratio_of
from ratelike._neuron._base import Factors, mean_rates
from ratelike._neuron._factors import in_one_precision, is_moderate
from ratelike._neuron._renewal_neuron import AbstractRenewalNeuron
from ratelike._numerics._broadcasting import broadcasts
from ratelike._refractory import (
    AbstractRefractory,
    ExponentialRefractory,
    at_successive_ages,
)
from ratelike._types import Numbers
from ratelike._validation import _plausibility as plausibility


class SRM0(AbstractRenewalNeuron):
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

    tau_m: Float[Array, "*#neurons"]
    escape: AbstractEscape
    refractory: AbstractRefractory
    has_moderate_kernel: bool = eqx.field(static=True)

    def __init__(
        self,
        tau_m: Numbers = 10e-3,
        escape: AbstractEscape | None = None,
        refractory: AbstractRefractory | None = None,
    ) -> None:
        self.tau_m = plausibility.time_constant("SRM0.tau_m", tau_m)
        self.escape = ExponentialEscape() if escape is None else escape
        self.refractory = ExponentialRefractory() if refractory is None else refractory
        validation.instance("SRM0.escape", self.escape, AbstractEscape)
        validation.instance("SRM0.refractory", self.refractory, AbstractRefractory)
        self.has_moderate_kernel = kernel_is_moderate(self.escape, self.refractory)

    @property
    def dead_time(self) -> Float[Array, "*#neurons"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.dead_time

    @property
    def shortest_dead_time(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.shortest_dead_time

    @property
    def memory(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.memory

    def mark(self, potential: Float[Array, "..."]) -> None:
        return None

    def separate(self) -> Factors | None:
        ratio = ratio_of(self.escape)
        if ratio is None or not self.has_moderate_kernel:
            return None
        return Factors(self.escape, lambda age: ratio(self.refractory(age)))

    def hazard(
        self, potential: Float[Array, "..."], age: Float[Array, "..."], mark: None
    ) -> Float[Array, "..."]:
        offset = self.refractory(age)
        # A table over ages times a vector over neurons, when neurons share their kernel.
        is_table = jnp.size(offset) < jnp.size(potential + offset)
        ratio = ratio_of(self.escape)
        if is_table and ratio is not None and self.has_moderate_kernel:
            return self.escape(potential) * ratio(offset)
        return self.escape(potential + offset)

    def successive_hazards(
        self,
        ends: Sequence[Float[Array, "..."]],
        potentials: Sequence[Float[Array, "..."]],
        ages: Sequence[Float[Array, "..."]],
        marks: Sequence[None],
        dt: float,
    ) -> list[Float[Array, "..."]]:
        offsets = at_successive_ages(self.refractory, ages, dt)
        ratio = ratio_of(self.escape)
        if ratio is None or not self.has_moderate_kernel:
            steps = zip(potentials, offsets, strict=True)
            return [self.escape(h + offset) for h, offset in steps]
        steps = zip(mean_rates(self.escape, ends), offsets, strict=True)
        return [mean * ratio(offset) for mean, offset in steps]


@broadcasts
def kernel_is_moderate(escape: AbstractEscape, refractory: AbstractRefractory) -> bool:
    """Whether SRM0 may separate its hazard; not known of traced values."""
    if not validation.is_concrete((escape, refractory)):
        return False
    with jax.ensure_compile_time_eval():
        escape, refractory = in_one_precision((escape, refractory))
        ratio = ratio_of(escape)
        if ratio is None:
            return False
        first, last = refractory.shortest_dead_time, refractory.memory
        return bool(is_moderate(lambda age: ratio(refractory(age)), first, last))
