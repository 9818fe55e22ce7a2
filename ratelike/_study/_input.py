"""The external input of a study's networks."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Key

from ratelike._network import Network
from ratelike._signal._drive import AbstractDrive, Input, NoDrive
from ratelike._signal._drives._wiener import WienerDrive

MakeDrive = Callable[[Network, Array], Input]


def white_noise(network: Network, key: Key[Array, ""]) -> AbstractDrive:
    """White noise for each latent, scaled for the mean membrane time constant of the first layer."""
    first = network.layers[0]
    if first.num_latents == 0:
        return NoDrive()
    return WienerDrive(first.num_latents, tau_m=jnp.mean(first.neuron.tau_m), key=key)
