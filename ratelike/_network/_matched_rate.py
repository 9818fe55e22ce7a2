"""The stationary rate of a neuron as the static nonlinearity of a rate unit."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._neuron import AbstractNeuronModel, fine_step
from ratelike._neuron import _renewal as renewal
from ratelike._numerics._casting import cast_to

# Activations that stand for all of a sample, at equal distances of its distribution.
QUANTILES = 64
# Starts of the search: shifts in escape widths from threshold, scales in widths per standard deviation of the activation.
SHIFTS, SCALES = (-2.0, 1.0, 4.0, 8.0), (0.7, 2.5)
STARTS = 3  # so many of them, the best, are followed


class MatchedRate(NamedTuple):
    """phi(x) ~ (g(shift + scale x) - base) / rate; of a pair, (g(shift + scale x) - g(shift - scale x)) / rate."""

    shift: float  # potential
    scale: float  # potential per activation
    rate: float  # Hz
    base: float  # Hz, 0 of a pair
    error: float  # root of the mean squared difference, per standard deviation of phi


def matched_rate(
    neuron: AbstractNeuronModel,
    nonlinearity: Callable[[Any], Any],
    activations: Float[np.ndarray, "..."],
    pairs: bool,
) -> MatchedRate:
    """Least squares over the sample: in closed form for rate and base, by Nelder and Mead (1965) for shift and scale."""
    from scipy.optimize import minimize

    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    x = np.quantile(np.ravel(activations).astype(np.float64), levels)
    phi = _values(nonlinearity, x)
    spread = float(np.std(phi))
    if not spread > 0.0:
        raise ValueError(
            "nonlinearity must vary over the activations, got the same value at all of them"
        )
    rate_at = _rate(neuron)
    threshold, width = _where_it_fires(neuron)

    def fitted(place: Any) -> MatchedRate:
        shift, scale = threshold + width * place[0], width * np.exp(place[1])
        rates = rate_at(shift + scale * x)
        if pairs:
            rates = rates - rate_at(shift - scale * x)
            slope = _slope(rates, phi)
            constant = 0.0
        else:
            centred = rates - rates.mean()
            slope = _slope(centred, phi)
            constant = phi.mean() - slope * rates.mean()
        error = np.sqrt(np.mean((phi - slope * rates - constant) ** 2)) / spread
        return MatchedRate(
            float(shift), float(scale), 1.0 / slope, -constant / slope, float(error)
        )

    size = np.log(1.0 / np.std(x))
    starts = sorted(
        ((shift, size + np.log(scale)) for shift in SHIFTS for scale in SCALES),
        key=lambda place: fitted(place).error,
    )
    found = [
        minimize(lambda place: fitted(place).error, start, method="Nelder-Mead").x
        for start in starts[:STARTS]
    ]
    best = min(map(fitted, found), key=lambda match: match.error)
    if best.error > 0.5:
        raise ValueError(
            "nonlinearity must rise with the activation as the neuron's stationary rate can (as tanh, softplus or a sigmoid; "
            f"with pairs an odd function), got one of which a fraction {best.error:.2g} (of the standard deviation) is missed"
        )
    return best


def _slope(
    rates: Float[np.ndarray, " activations"], phi: Float[np.ndarray, " activations"]
) -> float:
    """Above zero: where phi falls, all of it is missed."""
    return max(float(np.dot(rates, phi) / max(np.dot(rates, rates), 1e-12)), 1e-12)


def _values(
    nonlinearity: Callable[[Any], Any], x: Float[np.ndarray, " activations"]
) -> Float[np.ndarray, " activations"]:
    values = np.asarray(validation.parameter("nonlinearity(x)", nonlinearity(x)))
    validation.shape("nonlinearity(x)", values, x.shape)
    return values.astype(np.float64)


def _rate(
    neuron: AbstractNeuronModel,
) -> Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]]:
    """The stationary rate in hertz, close to continuous time."""
    dt = fine_step(neuron, jnp.zeros(()))

    @jax.jit
    def rate(potential: Float[Array, " n"]) -> Float[Array, " n"]:
        return renewal.stationary_rate(cast_to(neuron, potential.dtype), potential, dt)

    return lambda potential: np.asarray(rate(jnp.asarray(potential)), np.float64)


def _where_it_fires(neuron: AbstractNeuronModel) -> tuple[float, float]:
    """Threshold and width of the escape rate, for the search to begin at."""
    escape = getattr(neuron, "escape", None)
    threshold, width = (
        getattr(escape, name, otherwise)
        for name, otherwise in (("threshold", 0.0), ("width", 1.0))
    )
    return float(threshold), float(width)
