"""A synapse that decays exponentially."""

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float

from ratelike._signal._synapse._base import AbstractSynapse
from ratelike._signal._synapse._cascade import (
    latents_of,
    low_pass,
    one_stage,
    time_constant,
)
from ratelike._types import Numbers


class ExponentialSynapse(AbstractSynapse):
    r"""The kernel exp(-s / tau) / tau: y' = (x - y) / tau, exactly for a signal x that is constant within each step.

    `tau` is in seconds: one number, or one for each latent, so that excitation and inhibition may differ. The state is y,
    in latents per second.

        layer = rl.Layer(neuron, encoder, decoder, synapse=rl.ExponentialSynapse(5e-3))

    *Neuronal Dynamics*, section 3.1.

    Raises `ValueError` unless `tau` > 0.
    """

    tau: Float[Array, "*#latents"]

    def __init__(self, tau: Numbers) -> None:
        self.tau = time_constant("ExponentialSynapse.tau", tau)

    @property
    def num_latents(self) -> int | None:
        return latents_of(self.tau)

    def check(self, name: str, dt: float) -> None:
        """Any step will do."""

    def initial(
        self, shape: tuple[int, ...], dtype: DTypeLike, dt: float
    ) -> Float[Array, "*shape"]:
        return jnp.zeros(shape, dtype)

    def settled(
        self, signal: Float[Array, "*shape"], dt: float
    ) -> Float[Array, "*shape"]:
        return signal

    def __call__(
        self,
        state: Float[Array, "*shape"],
        increments: Float[Array, "time *shape"],
        dt: float,
    ) -> tuple[Float[Array, "*shape"], Float[Array, "time *shape"]]:
        return one_stage(self.tau, state, increments, dt)

    def transfer(
        self, angular_frequency: Float[Array, " frequencies"]
    ) -> Complex[Array, "frequencies *#latents"]:
        return low_pass(self.tau, angular_frequency)
