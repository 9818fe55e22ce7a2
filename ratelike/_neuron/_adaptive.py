"""The spike response model in which all past spikes add up."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._escape import AbstractEscape, ExponentialEscape
from ratelike._neuron._averaged import AveragedPast, Traces, faded_traces
from ratelike._neuron._base import AbstractNeuronModel, one_by_one
from ratelike._neuron._closure import (
    AbstractClosure,
    Adaptation,
    MeanTrace,
    QuasiRenewal,
)
from ratelike._refractory import AbstractRefractory, ExponentialRefractory
from ratelike._types import Numbers
from ratelike._validation import _plausibility as plausibility

NO_DENSITY = "AdaptiveSRM has no density over age; its `expected` has"


class AdaptiveSRM(AbstractNeuronModel):
    r"""Spike response model with spike-frequency adaptation: after-potentials of *all* past spikes add up,

        u = h + eta(a) + sum_f eta_A(t - t_f),    eta_A(s) = -sum_i amplitude_i exp(-s / tau_i),    rho = f(u),

    and rho = 0 within the dead time. The refractory kernel eta acts through the last spike only, as in `SRM0`, which
    this neuron is at amplitude 0; a `refractory` of amplitude 0 leaves its dead time alone. `adaptation` is a sequence
    of `Adaptation(amplitude, tau)`, by default one of one escape width and 100 ms. All else as in `SRM0`.

    *Spiking* is exact: each neuron keeps the traces z_i = sum_f exp(-(t - t_f)/tau_i), and u = h + eta(a) - sum_i
    amplitude_i z_i. `memory` is that of `refractory` and does not limit the traces.

    *The rates are approximations.* All past spikes together are no renewal process, and the density over the age of the
    last spike needs a `closure` for those before it: `QuasiRenewal()` (Naud and Gerstner 2012) by default, or
    `MeanTrace()` to compare. **The error of a closure does not vanish with the number of neurons**: the error of a
    network against its generalised rate falls with 1/sqrt(N) down to that of the closure and stays there. It grows
    with amplitude times rate times tau; `benchmarks/adaptation.py` measures it. With amplitude 0 it is zero.

    *Ages beyond* `memory` share the last bin. They know the mean of what the last and earlier spikes have left, and
    that goes on fading, so that `memory` need not be as long as the longest tau; an uncertainty of the age of some tau
    costs less than the closure.

    *Conventional rate*: the stationary rate at constant h, which solves r = g(h, traces at r); adaptation is as static
    there as refractoriness. `relay_network` decodes with its gain.

    *Not supported* (`ValueError`): diffrax's own solvers (the method of lines), `readout_variance`,
    `expected_error` and `expected_spiking_loss`, whose theory is that of renewal neurons, and `Mixture`. The
    derivatives of sampled spikes work.

    *Cost.* Spiking: one trace per exponential. Rate: one exponential function for each neuron and age as for `LIF`,
    and one array (ages, neurons) for each exponential and each term of the closure (3 for one exponential of one
    width).

    Gerstner, Kistler, Naud and Paninski, *Neuronal Dynamics*, section 6.4 (SRM); Naud and Gerstner, PLoS Comput. Biol.
    8, e1002711 (2012).

    Raises `ValueError` unless `tau_m` > 0, for nothing or something else than `Adaptation` in `adaptation`, for an escape rate
    without a `width` beside `QuasiRenewal`, and as the closure does.
    """

    tau_m: Float[Array, "*#neurons"]
    escape: AbstractEscape
    refractory: AbstractRefractory
    adaptation: tuple[Adaptation, ...]
    closure: AbstractClosure
    orders: tuple[int, ...] = eqx.field(static=True)
    is_renewal: ClassVar[bool] = False
    can_spike: ClassVar[bool] = True

    def __init__(
        self,
        tau_m: Numbers = 10e-3,
        escape: AbstractEscape | None = None,
        refractory: AbstractRefractory | None = None,
        adaptation: Sequence[Adaptation] | None = None,
        closure: AbstractClosure | None = None,
    ) -> None:
        self.tau_m = plausibility.time_constant("AdaptiveSRM.tau_m", tau_m)
        self.escape = ExponentialEscape() if escape is None else escape
        self.refractory = ExponentialRefractory() if refractory is None else refractory
        validation.instance("AdaptiveSRM.escape", self.escape, AbstractEscape)
        validation.instance(
            "AdaptiveSRM.refractory", self.refractory, AbstractRefractory
        )
        adaptation = (Adaptation(),) if adaptation is None else adaptation
        validation.instance("AdaptiveSRM.adaptation", adaptation, Iterable)
        self.adaptation = tuple(adaptation)
        if not self.adaptation:
            raise ValueError(
                "AdaptiveSRM.adaptation must hold at least one Adaptation, got none; use SRM0"
            )
        for index, each in enumerate(self.adaptation):
            validation.instance(f"AdaptiveSRM.adaptation[{index}]", each, Adaptation)
        self.closure = QuasiRenewal() if closure is None else closure
        validation.instance("AdaptiveSRM.closure", self.closure, AbstractClosure)
        width = _width(self.escape, self.closure)
        self.orders = self.closure.orders(
            [each.amplitude / width for each in self.adaptation]
        )

    @property
    def dead_time(self) -> Float[Array, "*#neurons"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.dead_time

    @property
    def shortest_dead_time(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.shortest_dead_time

    @property
    def memory(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.refractory.memory

    @property
    def expected(self) -> AveragedPast:
        """The neuron of the rate dynamics, which knows earlier spikes by the closure."""
        terms = self.closure.terms(
            self.adaptation, _width(self.escape, self.closure), self.orders
        )
        return AveragedPast(
            self.tau_m, self.escape, self.refractory, self.adaptation, terms
        )

    @property
    def types(self) -> dict[str, AbstractNeuronModel]:
        return {"": self}

    def select(
        self, values: Sequence[Float[Array, "..."] | float]
    ) -> Float[Array, "..."] | float:
        return values[0]

    def mark(self, potential: Float[Array, "..."]) -> Traces:
        return tuple(jnp.zeros_like(potential) for _ in self.adaptation)

    def faded(self, mark: Traces, seconds: Float[Array, "..."] | float) -> Traces:
        return faded_traces(mark, self.adaptation, seconds)

    def mark_after_spike(
        self, potential: Float[Array, "..."], mark: Traces, dt: float
    ) -> Traces:
        return self.faded(jax.tree.map(lambda trace: trace + 1.0, mark), dt)

    def hazard(
        self,
        potential: Float[Array, "..."],
        age: Float[Array, "..."],
        mark: Traces,
    ) -> Float[Array, "..."]:
        for trace, each in zip(mark, self.adaptation, strict=True):
            potential = potential - each.amplitude * trace
        return self.escape(potential + self.refractory(age))

    def successive_hazards(
        self,
        ends: Sequence[Float[Array, "..."]],
        potentials: Sequence[Float[Array, "..."]],
        ages: Sequence[Float[Array, "..."]],
        marks: Sequence[Traces],
        dt: float,
    ) -> list[Float[Array, "..."]]:
        return one_by_one(self, potentials, ages, marks)

    def separate(self) -> None:
        return None

    def initial_trace(self, potential: Float[Array, "..."]) -> NoReturn:
        raise NotImplementedError(NO_DENSITY)

    def newborn(
        self,
        potential: Float[Array, "..."],
        trace: Traces,
        activity: Float[Array, "..."],
        dt: float,
    ) -> NoReturn:
        raise NotImplementedError(NO_DENSITY)

    def stationary_mark(
        self, potential: Float[Array, "..."], rate: Float[Array, "..."], dt: float
    ) -> NoReturn:
        raise NotImplementedError(NO_DENSITY)


def _width(
    escape: AbstractEscape, closure: AbstractClosure
) -> Float[Array, "*#neurons"]:
    width = getattr(escape, "width", None)
    if isinstance(width, jax.Array):
        return width
    if isinstance(closure, MeanTrace):
        return jnp.ones(())  # of no consequence
    raise ValueError(
        "AdaptiveSRM.escape must have a `width`, by which QuasiRenewal averages an exponential escape rate, "
        f"got {type(escape).__name__}; use closure=MeanTrace()"
    )
