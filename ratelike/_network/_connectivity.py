"""How the connections of a population are drawn."""

import abc

import equinox as eqx
from jaxtyping import Array, Float


class AbstractConnectivity(eqx.Module):
    """How the connections of a population are drawn, tile by tile: a tile's key determines its own."""

    num_latents: eqx.AbstractVar[int]
    num_latents_out: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(
        self, tile_key: Array
    ) -> tuple[
        Float[Array, "tile latents"],
        Float[Array, "tile latents_out"],
        Float[Array, "*#tile"],
    ]:
        """Encoder, decoder and bias of a tile of neurons, of which there are `ratelike.extend.TILE`."""
