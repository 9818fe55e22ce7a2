"""A synapse that rises and decays with one time constant."""

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float

from ratelike._signal._synapse._base import AbstractSynapse
from ratelike._signal._synapse._cascade import (
    latents_of,
    low_pass,
    time_constant,
    two_stages,
)
from ratelike._types import Numbers


class AlphaSynapse(AbstractSynapse):
    r"""The kernel s exp(-s / tau) / tau^2, largest at s = tau, exactly for a signal that is constant within each step.

    `tau` is in seconds: one number, or one for each latent. The mean delay is 2 tau. The state is two low-pass filters in a
    row, z' = (x - z) / tau and y' = (z - y) / tau, in latents per second.

        layer = rl.Layer(neuron, encoder, decoder, synapse=rl.AlphaSynapse([2e-3, 10e-3]))

    Raises `ValueError` unless `tau` > 0.
    """

    tau: Float[Array, "*#latents"]

    def __init__(self, tau: Numbers) -> None:
        self.tau = time_constant("AlphaSynapse.tau", tau)

    @property
    def num_latents(self) -> int | None:
        return latents_of(self.tau)

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
        return two_stages((self.tau, self.tau), state, increments, dt)

    def transfer(
        self, angular_frequency: Float[Array, " frequencies"]
    ) -> Complex[Array, "frequencies *#latents"]:
        return low_pass(self.tau, angular_frequency) ** 2
