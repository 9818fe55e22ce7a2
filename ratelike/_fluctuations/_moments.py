"""The exact variance of one neuron's filtered spike train."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._fluctuations._density import Shift, Step
from ratelike._signal._membrane import Leak


class Moments(NamedTuple):
    r"""Of the membrane trace y of a neuron's own spikes: y <- a y + b s, b = (1 - a)/dt.

    `covariance` is c_k = E[(y - E y) 1(age k)] and `variance` is Var y. With r = sum_k p_k P_k,

        Var y'  = a^2 Var y + 2 a b sum_k p_k c_k + b^2 r (1 - r)
        c'_{k+1} = (1 - p_k) (a c_k - b r P_k),      c'_0 = sum_k p_k (a c_k + b (1 - r) P_k)

    which is exact at any dt. The second moment is needed in total only, not at each age: y enters Var y' through its
    covariance with the spike. All terms are of the size of the result, so that nothing cancels in float32, as the
    difference E[y^2] - E[y]^2 does.
    """

    covariance: Float[Array, "ages neurons"]  # 1/s, per spike
    variance: Float[Array, " neurons"]  # 1/s^2


def no_spikes_yet(distribution: Float[Array, "ages neurons"]) -> Moments:
    return Moments(jnp.zeros_like(distribution), jnp.zeros_like(distribution[0]))


def advance_moments(moments: Moments, step: Step, leak: Leak, shift: Shift) -> Moments:
    """One step; a and b are the decay and the scale of the output membrane's leak."""
    (decay, jump), rate = leak, step.activity
    with_spike = jnp.sum(step.probability * moments.covariance, axis=0)
    variance = (
        decay**2 * moments.variance
        + 2.0 * decay * jump * with_spike
        + jump**2 * rate * (1.0 - rate)
    )
    survived = (1.0 - step.probability) * moments.covariance
    covariance = shift(
        decay * with_spike + jump * rate * (1.0 - rate),
        decay * survived - jump * rate * step.survivors,
    )
    return Moments(covariance, variance)
