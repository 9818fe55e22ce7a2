"""The membrane: a leaky integrator of increments."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._numerics import _platform as platform
from ratelike._numerics._broadcasting import broadcasts
from ratelike._types import Numbers


class Leak(NamedTuple):
    """What a leaky integrator does in each step: `decay` is a = exp(-dt / tau_m), `scale` is (1 - a) / dt, per second."""

    decay: Float[Array, "*shape"]
    scale: Float[Array, "*shape"]

    def push(self, increment: Float[Array, "..."]) -> Float[Array, "..."]:
        """(1 - a)/dt dX: by how much an increment moves the integrator."""
        return self.scale * increment

    def after(
        self, driven: Float[Array, "..."], push: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """a y + push: the integrator at the end of a step."""
        return self.decay * driven + push


def leak_of(tau_m: Float[Array, "*shape"], dt: float) -> Leak:
    return Leak(jnp.exp(-dt / tau_m), -jnp.expm1(-dt / tau_m) / dt)


# Steps of a loop over single rows, which cost less than a turn of the loop.
UNROLL = 8


def potentials_at_ends(
    bias: Float[Array, " neurons"],
    start: Float[Array, " neurons"],
    currents: Float[Array, "time neurons"],
    tau_m: Float[Array, "*#neurons"],
    dt: float,
) -> Float[Array, "ends neurons"]:
    """h at the beginning of the first step, where it is `start`, and at the end of each: h[n+1] - b = a (h[n] - b) + (1 - a)/dt dI[n]."""
    leak = leak_of(tau_m, dt)
    pushes = leak.push(currents)
    if platform.has_gpu():
        return bias + jax.lax.platform_dependent(
            start - bias, pushes, leak, cuda=_ends_by_doubling, default=_ends_by_steps
        )
    return bias + _ends_by_steps(start - bias, pushes, leak)


def _ends_by_steps(
    start: Float[Array, " neurons"],
    pushes: Float[Array, "time neurons"],
    leak: Leak,
) -> Float[Array, "ends neurons"]:
    # As a row: the derivative by a number would be a sum over neurons in each step, longer than all the rest here.
    leak = leak._replace(decay=jnp.broadcast_to(leak.decay, start.shape))

    def step(driven: Array, push: Array) -> tuple[Array, Array]:
        return leak.after(driven, push), driven

    end, driven = jax.lax.scan(step, start, pushes, unroll=UNROLL)
    return jnp.concatenate([driven, end[None]])


def _ends_by_doubling(
    start: Float[Array, " neurons"],
    pushes: Float[Array, "time neurons"],
    leak: Leak,
) -> Float[Array, "ends neurons"]:
    pushes = jnp.concatenate([start[None], pushes])
    return _filtered(pushes, leak)


@broadcasts
def membrane_traces(
    increments: Numbers, tau_m: Numbers, dt: float
) -> Float[Array, "time *latents"]:
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
    return traces_from(jnp.zeros_like(increments[0]), increments, tau_m, dt)


def traces_from(
    start: Float[Array, "*latents"],
    increments: Float[Array, "time *latents"],
    tau_m: Float[Array, "*#latents"],
    dt: float,
) -> Float[Array, "time *latents"]:
    """`membrane_traces` with y[-1] = `start`."""
    leak = leak_of(tau_m, dt)
    if platform.has_gpu():
        return jax.lax.platform_dependent(
            start, increments, leak, cuda=_traces_by_doubling, default=_traces_by_steps
        )
    return _traces_by_steps(start, increments, leak)


def _traces_by_steps(
    start: Float[Array, "*latents"],
    increments: Float[Array, "time *latents"],
    leak: Leak,
) -> Float[Array, "time *latents"]:
    def step(trace: Array, increment: Array) -> tuple[Array, Array]:
        trace = leak.after(trace, leak.push(increment))
        return trace, trace

    return jax.lax.scan(step, start, increments)[1]


def _traces_by_doubling(
    start: Float[Array, "*latents"],
    increments: Float[Array, "time *latents"],
    leak: Leak,
) -> Float[Array, "time *latents"]:
    pushes = leak.push(increments)
    return _filtered(jnp.concatenate([start[None], pushes]), leak)[1:]


def _filtered(
    pushes: Float[Array, "time *shape"], leak: Leak
) -> Float[Array, "time *shape"]:
    """y[n] = a y[n-1] + push[n] over stretches of time that double, in some log2(time) kernels."""

    def join(
        first: tuple[Array, Array], second: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        return first[0] * second[0], first[1] * second[0] + second[1]

    decays = jnp.broadcast_to(leak.decay, pushes.shape)
    return jax.lax.associative_scan(join, (decays, pushes))[1]
