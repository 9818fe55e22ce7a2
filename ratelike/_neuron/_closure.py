"""How a rate stands for the spikes before the last one."""

import abc
import functools
import itertools
import math
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._types import Numbers

HIGHEST_ORDER = 12
# Of the exponential series: 10^-7 is left of exp(-12).
SERIES_TERMS = 48


class Adaptation(eqx.Module):
    r"""The after-potential -amplitude exp(-s / tau) that *every* spike leaves behind, s seconds after it.

    `amplitude` has the units of the potential and `tau` is in seconds; both are scalars or one value per neuron.

    Raises `ValueError` unless `amplitude` >= 0 and `tau` > 0.
    """

    amplitude: Float[Array, "*#neurons"]  # potential
    tau: Float[Array, "*#neurons"]  # s

    def __init__(
        self,
        amplitude: Numbers = 1.0,
        tau: Numbers = 100e-3,
    ) -> None:
        self.amplitude = validation.parameter(
            "Adaptation.amplitude", amplitude, at_least=0.0
        )
        self.tau = validation.parameter("Adaptation.tau", tau, above=0.0)


class Term(eqx.Module):
    """The expected activity before the last spike adds coefficient * integral of exp(-s / tau) r(t - s) ds."""

    coefficient: Float[Array, "*#neurons"]  # potential
    tau: Float[Array, "*#neurons"]  # s


class AbstractClosure(eqx.Module):
    """Replaces the spikes before the last one by traces of the neuron's own expected activity."""

    @abc.abstractmethod
    def orders(self, strengths: Sequence[Float[Array, "*#neurons"]]) -> tuple[int, ...]:
        """How many powers of each exponential are needed; `strengths` are amplitudes in escape widths."""

    @abc.abstractmethod
    def terms(
        self,
        adaptation: Sequence[Adaptation],
        width: Float[Array, "*#neurons"],
        orders: tuple[int, ...],
    ) -> tuple[Term, ...]:
        """What the expected activity adds to the potential; `width` is that of the escape rate."""


class MeanTrace(AbstractClosure):
    r"""Earlier spikes count with their mean: u = h + eta(a) + int_{s > a} eta(s) r(t - s) ds.

    The simplest closure, for comparison: of E exp(sum eta / width) it keeps exp(E sum eta / width), and so
    underestimates the hazard by about half the variance of the after-potentials in squared widths. Works with every
    escape rate.
    """

    def orders(self, strengths: Sequence[Float[Array, "*#neurons"]]) -> tuple[int, ...]:
        return (1,) * len(strengths)

    def terms(
        self,
        adaptation: Sequence[Adaptation],
        width: Float[Array, "*#neurons"],
        orders: tuple[int, ...],
    ) -> tuple[Term, ...]:
        return tuple(Term(-each.amplitude, each.tau) for each in adaptation)


class QuasiRenewal(AbstractClosure):
    r"""Earlier spikes as a Poisson process of the neuron's own expected rate:

        u = h + eta(a) + width * int_{s > a} (exp(eta(s) / width) - 1) r(t - s) ds,

    which is what averaging exp(sum eta / width) over them gives, and therefore meant for escape rates that are
    exponential with that `width`, at least well below threshold (all of ratelike's are).

    The kernel exp(eta/width) - 1 is again a sum of exponentials, of rates n / tau: with x = exp(-s/tau) it is a
    polynomial in x without constant term, interpolated at Chebyshev nodes with as many powers as keep the error of the
    kernel below `tolerance` (3 for an amplitude of one width and the default). Several exponentials give all products
    of their powers: (m_1 + 1)(m_2 + 1) ... - 1 traces.

    Where the amplitude is being traced, powers cannot be counted: give `powers`, as many for each exponential. So it is
    for a neuron made within jit, for instance by the `make_network` of a `convergence` study: make it outside.

    Naud and Gerstner, PLoS Comput. Biol. 8, e1002711 (2012); *Neuronal Dynamics*, section 14.5.

    Raises `ValueError` unless `tolerance` > 0 and `powers` >= 1.
    """

    tolerance: float = eqx.field(static=True)
    powers: int | None = eqx.field(static=True)

    def __init__(self, tolerance: float = 1e-3, powers: int | None = None) -> None:
        self.tolerance = validation.number(
            "QuasiRenewal.tolerance", tolerance, above=0.0
        )
        self.powers = (
            None if powers is None else validation.count("QuasiRenewal.powers", powers)
        )

    def orders(self, strengths: Sequence[Float[Array, "*#neurons"]]) -> tuple[int, ...]:
        if self.powers is not None:
            return (self.powers,) * len(strengths)
        if not validation.is_concrete(tuple(strengths)):
            raise ValueError(
                "QuasiRenewal.powers must be given where an amplitude is being traced, because it sets the number of "
                "traces; got None. Or make the neuron outside jit, in a convergence study outside make_network"
            )
        return tuple(
            _order_needed(float(np.max(np.asarray(each))), self.tolerance)
            for each in strengths
        )

    def terms(
        self,
        adaptation: Sequence[Adaptation],
        width: Float[Array, "*#neurons"],
        orders: tuple[int, ...],
    ) -> tuple[Term, ...]:
        # Powers of each exponential, with the constant 1 in front: exp(-J x) = 1 + c_1 x + c_2 x^2 + ...
        expansions = [
            [jnp.ones_like(each.amplitude), *_powers(each.amplitude / width, order)]
            for each, order in zip(adaptation, orders, strict=True)
        ]
        terms = []
        for powers in itertools.product(*(range(order + 1) for order in orders)):
            if not any(powers):
                continue
            coefficient = width
            for power, expansion in zip(powers, expansions, strict=True):
                coefficient = coefficient * expansion[power]
            rates = [
                power / each.tau for power, each in zip(powers, adaptation, strict=True)
            ]
            terms.append(Term(coefficient, 1.0 / functools.reduce(jnp.add, rates)))
        return tuple(terms)


def _order_needed(strength: float, tolerance: float) -> int:
    x = np.linspace(0.0, 1.0, 401)[1:]
    kernel = np.expm1(-strength * x)
    for order in range(1, HIGHEST_ORDER):
        nodes = _nodes(order)
        powers = _interpolation(order) @ (np.expm1(-strength * nodes) / nodes)
        error = np.polynomial.polynomial.polyval(x, [0.0, *powers]) - kernel
        if np.max(np.abs(error)) <= tolerance:
            return order
    return HIGHEST_ORDER


def _nodes(order: int) -> np.ndarray:
    """Chebyshev nodes in (0, 1)."""
    return 0.5 - 0.5 * np.cos(math.pi * (np.arange(order) + 0.5) / order)


def _interpolation(order: int) -> np.ndarray:
    """From values of (exp(-J x) - 1) / x at the nodes to the coefficients of x, x^2, ... in exp(-J x) - 1."""
    return np.linalg.inv(np.vander(_nodes(order), increasing=True))


def _powers(
    strength: Float[Array, "*#neurons"], order: int
) -> list[Float[Array, "*#neurons"]]:
    """Coefficients of x, x^2, ... in exp(-strength x) - 1, differentiable in `strength`."""
    # By its Taylor series, of which each power of x is interpolated in float64 beforehand: in float32 the differences of
    # the exponential itself at the nodes would lose most of their digits.
    exponents = np.arange(SERIES_TERMS)
    powers_at_nodes = _nodes(order)[:, None] ** exponents
    interpolants = _interpolation(order) @ powers_at_nodes  # (order, exponents)
    factors = -strength[..., None] / jnp.asarray(exponents + 1, strength.dtype)
    series = jnp.cumprod(factors, axis=-1)  # (-J)^m / m!
    coefficients = jnp.matmul(
        series, jnp.asarray(interpolants.T, strength.dtype), precision="highest"
    )
    return [coefficients[..., power] for power in range(order)]
