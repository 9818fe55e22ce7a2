"""The membrane: a leaky integrator of increments."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def decay_factor(tau_m: Float[Array, "*shape"], dt: float) -> Float[Array, "*shape"]:
    """a = exp(-dt / tau_m)."""
    return jnp.exp(-dt / tau_m)


def input_factor(tau_m: Float[Array, "*shape"], dt: float) -> Float[Array, "*shape"]:
    """(1 - a) / dt, by which an increment adds to the potential; per second."""
    return -jnp.expm1(-dt / tau_m) / dt


def membrane_traces(
    increments: Float[Array, "time latents"], tau_m: Float[Array, ""], dt: float
) -> Float[Array, "time latents"]:
    """kappa * dX, in latents: y[n] = a y[n-1] + (1 - a)/dt dX[n], y[-1] = 0; `tau_m` and `dt` in seconds."""
    decay, scale = decay_factor(tau_m, dt), input_factor(tau_m, dt)

    def step(trace, increment):
        trace = decay * trace + scale * increment
        return trace, trace

    return jax.lax.scan(step, jnp.zeros_like(increments[0]), increments)[1]
