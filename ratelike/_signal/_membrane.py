"""The membrane: a leaky integrator of increments."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ratelike import _validation as validation
from ratelike._numerics._broadcasting import broadcasts

if TYPE_CHECKING:
    from ratelike._network import Layer


def decay_factor(tau_m: Float[Array, "*shape"], dt: float) -> Float[Array, "*shape"]:
    """a = exp(-dt / tau_m)."""
    return jnp.exp(-dt / tau_m)


def input_factor(tau_m: Float[Array, "*shape"], dt: float) -> Float[Array, "*shape"]:
    """(1 - a) / dt, by which an increment adds to the potential; per second."""
    return -jnp.expm1(-dt / tau_m) / dt


def potential_after(
    layer: "Layer",
    potential: Float[Array, " neurons"],
    current: Float[Array, " neurons"],
    dt: float,
) -> Float[Array, " neurons"]:
    """h at the end of a step: b + a (h - b) + (1 - a)/dt dI."""
    tau_m = layer.neuron.tau_m
    driven = decay_factor(tau_m, dt) * (potential - layer.bias)
    return layer.bias + (driven + input_factor(tau_m, dt) * current)


# Steps of a loop over single rows, which cost less than a turn of the loop.
UNROLL = 8


def potentials_at_ends(
    bias: Float[Array, " neurons"],
    start: Float[Array, " neurons"],
    currents: Float[Array, "time neurons"],
    tau_m: Float[Array, "#neurons"],
    dt: float,
) -> Float[Array, "ends neurons"]:
    """h at the beginning of the first step, where it is `start`, and at the end of each: h[n+1] - b = a (h[n] - b) + (1 - a)/dt dI[n]."""
    pushes = input_factor(tau_m, dt) * currents
    # As a row: the derivative by a number would be a sum over neurons in each step, longer than all the rest here.
    decay = jnp.broadcast_to(decay_factor(tau_m, dt), start.shape)

    def step(driven, push):
        return decay * driven + push, driven

    end, driven = jax.lax.scan(step, start - bias, pushes, unroll=UNROLL)
    return bias + jnp.concatenate([driven, end[None]])


@broadcasts
def membrane_traces(
    increments: Float[ArrayLike, "time latents"], tau_m: ArrayLike, dt: float
) -> Float[Array, "time latents"]:
    """kappa * dX, in latents: y[n] = a y[n-1] + (1 - a)/dt dX[n], y[-1] = 0; `tau_m` and `dt` in seconds.

    `tau_m` is one number, or one for each latent.

    Raises `ValueError` for increments that are not finite numbers (time, latents), unless `tau_m` > 0 fits them, and
    unless `dt` > 0.
    """
    increments = validation.signal("increments", increments)
    if increments.ndim < 1 or increments.size == 0:
        raise ValueError(
            f"increments must have shape (time, latents), got shape {increments.shape}"
        )
    tau_m = validation.parameter("tau_m", tau_m, above=0.0).astype(increments.dtype)
    if tau_m.ndim != 0:
        validation.shape("tau_m", tau_m, increments.shape[-1:])
        tau_m = jnp.broadcast_to(tau_m, increments.shape[1:])
    dt = validation.number("dt", dt, above=0.0)
    return _traces(increments, tau_m, dt)


def _traces(increments, tau_m, dt: float) -> Float[Array, "time latents"]:
    decay, scale = decay_factor(tau_m, dt), input_factor(tau_m, dt)

    def step(trace, increment):
        trace = decay * trace + scale * increment
        return trace, trace

    return jax.lax.scan(step, jnp.zeros_like(increments[0]), increments)[1]
