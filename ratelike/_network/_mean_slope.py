"""The slope of the stationary rate, averaged over Gaussian potentials."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._neuron import AbstractNeuronModel, fine_step
from ratelike._neuron._renewal import stationary_rate
from ratelike._numerics._gaussian import gauss_hermite


def mean_slope(
    neuron: AbstractNeuronModel,
    bias: Float[Array, "*#neurons"],
    gain: Float[Array, ""],
) -> Float[Array, "*#neurons"]:
    r"""E[g'(b + gain xi)] in hertz per unit of potential, by Gauss-Hermite quadrature.

    The stationary rate g is taken close to continuous time, whatever the neuron's memory: see `fine_step`. Of numbers that
    are known it is a program of its own, also within a caller's `jit`, which then need not compile it for each network.
    """
    if not validation.is_concrete((neuron, bias, gain)):
        return _mean_slope(neuron, bias, gain)
    with jax.ensure_compile_time_eval():
        return _mean_slope(neuron, bias, gain)


@eqx.filter_jit
def _mean_slope(
    neuron: AbstractNeuronModel,
    bias: Float[Array, "*#neurons"],
    gain: Float[Array, ""],
) -> Float[Array, "*#neurons"]:
    def of_type(each: AbstractNeuronModel) -> Callable[..., Float[Array, "*#neurons"]]:
        return functools.partial(_slope_of_type, each)

    return neuron.by_type(of_type)(bias, gain)


def _slope_of_type(
    neuron: AbstractNeuronModel,
    bias: Float[Array, "*#neurons"],
    gain: Float[Array, ""],
) -> Float[Array, "*#neurons"]:
    dt = fine_step(neuron, bias)

    def rate(offset: Float[Array, ""]) -> Float[Array, "*#neurons"]:
        return stationary_rate(neuron, bias + offset, dt)

    def slope(node: Float[Array, ""]) -> Float[Array, "*#neurons"]:
        offset = node * gain
        return jax.jvp(rate, (offset,), (jnp.ones_like(offset),))[1]

    rule = gauss_hermite(64)
    return rule.mean(jax.vmap(slope)(jnp.asarray(rule.nodes, dtype=gain.dtype)))


def check_slope(
    slope: Float[Array, ""], bias: Float[Array, "*#neurons"], gain: Float[Array, ""]
) -> None:
    """The rate depends on the potential, so that decoders can hand a signal on."""
    if not validation.is_concrete((slope, bias, gain)):
        return
    limits = jnp.finfo(slope.dtype)
    product = (
        float(gain) * float(gain) * abs(float(slope))
    )  # by which decoders are divided
    if not float(limits.tiny) ** 0.5 < product < float(limits.max) ** 0.5:
        raise ValueError(
            f"bias and gain must be where the neuron's stationary rate depends on the potential, got a mean slope of "
            f"{float(slope):g} Hz per unit of potential at bias {validation.shown(np.asarray(bias).tolist())} and gain "
            f"{float(gain):g}: the neuron is silent or saturated there"
        )
