r"""One or two leaky integrators in a row, exactly on the grid.

With x = dX/dt constant within a step, p = dt/tau_z and q = dt/tau_y, and d(p, q) = (exp(-p) - exp(-q)) / (q - p),

    tau_z z' = x - z        z[n+1] = exp(-p) z + (1 - exp(-p)) x
    tau_y y' = z - y        y[n+1] = exp(-q) y + q d(p, q) z + (1 - exp(-q) - q d(p, q)) x

and the integrals over the step follow from the equations themselves: that of z is x dt - tau_z (z[n+1] - z[n]), so much
as came in and was not kept. Written with positive factors of x, z and y: the factors add up to one, with an error of
rounding of a whole kernel.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._numerics._exponential import mean_decay
from ratelike._types import Numbers, PyTree
from ratelike._validation import _plausibility as plausibility

# dt / tau: beyond it a synapse is as good as instantaneous, and the square of it is a number.
FASTEST = 1e6

T = TypeVar("T")
Step = Callable[[PyTree, PyTree], tuple[PyTree, PyTree]]


def time_constant(name: str, value: Numbers) -> Float[Array, "*#latents"]:
    """Above zero, one number or one for each latent."""
    tau = plausibility.time_constant(name, value)
    if tau.ndim != 0:
        validation.shape(name, tau, ("latents",))
    return tau


def latents_of(*taus: Float[Array, "..."]) -> int | None:
    """For how many latents the time constants are; None where they are single numbers."""
    sizes = {tau.shape[-1] for tau in taus if tau.ndim > 0}
    return max(sizes) if sizes else None


def one_stage(
    tau: Float[Array, "*#shape"],
    state: Float[Array, "*shape"],
    increments: Float[Array, "time *shape"],
    dt: float,
) -> tuple[Float[Array, "*shape"], Float[Array, "time *shape"]]:
    """Of y' = (x - y) / tau."""
    p = _steps_per(tau, dt)
    kept = mean_decay(p)
    decay, push, of_y, of_x = _rounded(
        (jnp.exp(-p), -jnp.expm1(-p) / dt, dt * kept, 1.0 - kept)
    )

    def step(y: Array, push: Array) -> tuple[Array, Array]:
        return decay * y + push, y

    pushes = _rounded(push * increments)
    end, y = _steps(step, state, pushes)
    return end, of_y * y + _rounded(of_x * increments)


def two_stages(
    taus: tuple[Float[Array, "*#shape"], Float[Array, "*#shape"]],
    state: Float[Array, "2 *shape"],
    increments: Float[Array, "time *shape"],
    dt: float,
) -> tuple[Float[Array, "2 *shape"], Float[Array, "time *shape"]]:
    """Of z' = (x - z) / taus[0] and y' = (z - y) / taus[1]; the state is z and y."""
    p, q = (_steps_per(tau, dt) for tau in taus)
    kept_z, kept_y = mean_decay(p), mean_decay(q)
    # Whatever the order of the two; where they are equal, each has half of the derivative by both.
    low, high = jnp.minimum(p, q), jnp.maximum(p, q)
    between = jnp.exp(-low) * mean_decay(high - low)
    z_in_y, z_in_mean = q * between, kept_z - between
    decay_z, push_z = _rounded((jnp.exp(-p), -jnp.expm1(-p) / dt))
    decay_y, y_of_z, push_y = _rounded(
        (jnp.exp(-q), z_in_y, (-jnp.expm1(-q) - z_in_y) / dt)
    )
    of_y, of_z, of_x = _rounded((dt * kept_y, dt * z_in_mean, 1.0 - kept_y - z_in_mean))

    def step(before: tuple, pushes: tuple[Array, Array]) -> tuple[tuple, tuple]:
        z, y = before
        after_z = decay_z * z + pushes[0]
        return (after_z, decay_y * y + (y_of_z * z + pushes[1])), before

    pushes = _rounded((push_z * increments, push_y * increments))
    start = state[0], state[1]
    end, (z, y) = _steps(step, start, pushes)
    from_z_and_x = of_z * z + _rounded(of_x * increments)
    return jnp.stack(end), of_y * y + from_z_and_x


def _steps(step: Step, start: PyTree, pushes: PyTree) -> tuple[PyTree, PyTree]:
    """The state after all steps, and that before each of them: one loop, whose body is the same for any number of steps.

    A loop of one step would be none: XLA would round it with what is around it.
    """
    num_steps = len(jax.tree.leaves(pushes)[0])
    if num_steps > 1:
        return jax.lax.scan(step, start, pushes)
    two = jax.tree.map(lambda x: jnp.concatenate([x, jnp.zeros_like(x)]), pushes)
    _, before = jax.lax.scan(step, start, two)
    end = jax.tree.map(lambda x: x[1], before)
    return end, jax.tree.map(lambda x: x[:1], before)


def _rounded(numbers: T) -> T:
    """As they are, before anything else is done with them.

    A sum of two products may be rounded in two ways, and products of three numbers in three. Which one it is would depend on
    the length of a run, and pieces would not be the whole.
    """
    return jax.lax.optimization_barrier(numbers)


def _steps_per(tau: Float[Array, "*#shape"], dt: float) -> Float[Array, "*#shape"]:
    return dt / jnp.maximum(tau, dt / FASTEST)


def low_pass(
    tau: Float[Array, "*#latents"], angular_frequency: Float[Array, " frequencies"]
) -> Array:
    """1 / (1 + i w tau)."""
    tau = tau.astype(angular_frequency.dtype)
    phase = jnp.multiply.outer(angular_frequency, tau)
    return jnp.reciprocal(jax.lax.complex(jnp.ones_like(phase), phase))
