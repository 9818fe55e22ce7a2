"""A delay."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float

from ratelike import _validation as validation
from ratelike._signal._synapse._base import AbstractSynapse
from ratelike._types import Numbers
from ratelike._validation import _plausibility as plausibility


class Delay(AbstractSynapse):
    """y(t) = x(t - duration), in seconds: one number, or one for each latent.

    Durations are static, since they set the size of the state, and multiples of the time step or refused when a network
    runs. The state is what is under way: the increments of as many steps as the longest of them has.

        synapse=[rl.Delay(2e-3), rl.ExponentialSynapse(5e-3)]

    Raises `ValueError` unless `duration` >= 0.
    """

    duration: float | tuple[float, ...] = eqx.field(static=True)  # s

    def __init__(self, duration: Numbers) -> None:
        name = "Delay.duration"
        if not validation.is_concrete(duration):
            raise ValueError(
                f"{name} must be concrete because it sets an array's size; it is being traced"
            )
        durations = np.asarray(
            validation.parameter(name, duration, at_least=0.0), float
        )
        plausibility.warn_of_milliseconds(
            name, duration, plausibility.LONGEST_TIME_CONSTANT
        )
        if durations.ndim != 0:
            validation.shape(name, durations, ("latents",))
        # As they were given, and not as they are in single precision.
        given = np.asarray(duration, float)
        self.duration = float(given) if given.ndim == 0 else tuple(given.tolist())

    @property
    def num_latents(self) -> int | None:
        return len(self.duration) if isinstance(self.duration, tuple) else None

    def check(self, name: str, dt: float) -> None:
        """Multiples of the time step, to one part in 10^4 of a step."""
        for duration in np.atleast_1d(self.duration):
            steps = duration / dt
            if abs(steps - round(steps)) > 1e-4:
                raise ValueError(
                    f"{name}.duration must be a multiple of the step dt = {dt:g} s, got {duration:g} s"
                )

    def initial(
        self, shape: tuple[int, ...], dtype: DTypeLike, dt: float
    ) -> Float[Array, "delay *shape"]:
        return jnp.zeros((self._steps(dt).max(), *shape), dtype)

    def settled(
        self, signal: Float[Array, "*shape"], dt: float
    ) -> Float[Array, "delay *shape"]:
        shape = (self._steps(dt).max(), *signal.shape)
        return jnp.broadcast_to(signal * dt, shape)

    def __call__(
        self,
        state: Float[Array, "delay *shape"],
        increments: Float[Array, "time *shape"],
        dt: float,
    ) -> tuple[Float[Array, "delay *shape"], Float[Array, "time *shape"]]:
        num_steps, steps = len(increments), self._steps(dt)
        known = jnp.concatenate([state, increments])
        state = known[num_steps:]
        if steps.size == 1:
            return state, known[:num_steps]
        rows = (steps.max() - steps) + np.arange(num_steps)[:, None]
        rows = rows.reshape(num_steps, *[1] * (known.ndim - 2), -1)
        return state, jnp.take_along_axis(known, jnp.asarray(rows), axis=0)

    def _steps(self, dt: float) -> np.ndarray:
        """Of each latent, or of all."""
        return np.rint(np.atleast_1d(self.duration) / dt).astype(np.int32)

    def transfer(
        self, angular_frequency: Float[Array, " frequencies"]
    ) -> Complex[Array, "frequencies *#latents"]:
        durations = jnp.asarray(self.duration, angular_frequency.dtype)
        phase = jnp.multiply.outer(angular_frequency, durations)
        return jax.lax.complex(jnp.cos(phase), -jnp.sin(phase))
