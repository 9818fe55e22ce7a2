"""A synapse that rises and decays with time constants of their own."""

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float

from ratelike import _validation as validation
from ratelike._signal._synapse._base import AbstractSynapse
from ratelike._signal._synapse._cascade import (
    latents_of,
    low_pass,
    time_constant,
    two_stages,
)
from ratelike._types import Numbers


class DoubleExponentialSynapse(AbstractSynapse):
    r"""The kernel (exp(-s / decay) - exp(-s / rise)) / (decay - rise), exactly for a signal constant within each step.

    `rise` and `decay` are in seconds: each one number, or one for each latent. The kernel does not change if they are
    exchanged, and where they are equal it is that of `AlphaSynapse`. The state is two low-pass filters in a row,
    z' = (x - z) / rise and y' = (z - y) / decay, in latents per second.

        layer = rl.Layer(neuron, encoder, decoder, synapse=rl.DoubleExponentialSynapse(1e-3, 8e-3))

    Raises `ValueError` unless `rise` > 0 and `decay` > 0, and for different numbers of latents.
    """

    rise: Float[Array, "*#latents"]
    decay: Float[Array, "*#latents"]

    def __init__(self, rise: Numbers, decay: Numbers) -> None:
        self.rise = time_constant("DoubleExponentialSynapse.rise", rise)
        self.decay = time_constant("DoubleExponentialSynapse.decay", decay)
        if self.rise.ndim != 0 and self.decay.ndim != 0:
            validation.shape(
                "DoubleExponentialSynapse.decay", self.decay, self.rise.shape
            )

    @property
    def num_latents(self) -> int | None:
        return latents_of(self.rise, self.decay)

    def check(self, name: str, dt: float) -> None:
        """Any step will do."""

    def initial(
        self, shape: tuple[int, ...], dtype: DTypeLike, dt: float
    ) -> Float[Array, "2 *shape"]:
        return jnp.zeros((2, *shape), dtype)

    def settled(
        self, signal: Float[Array, "*shape"], dt: float
    ) -> Float[Array, "2 *shape"]:
        return jnp.stack([signal, signal])

    def __call__(
        self,
        state: Float[Array, "2 *shape"],
        increments: Float[Array, "time *shape"],
        dt: float,
    ) -> tuple[Float[Array, "2 *shape"], Float[Array, "time *shape"]]:
        return two_stages((self.rise, self.decay), state, increments, dt)

    def transfer(
        self, angular_frequency: Float[Array, " frequencies"]
    ) -> Complex[Array, "frequencies *#latents"]:
        rise = low_pass(self.rise, angular_frequency)
        decay = low_pass(self.decay, angular_frequency)
        if rise.ndim == decay.ndim:
            return rise * decay
        return rise.reshape(len(rise), -1) * decay.reshape(len(decay), -1)
