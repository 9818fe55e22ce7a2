"""Feedback on its way around: decode, wait, encode."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._network import Layer
from ratelike._numerics._products import matrix_product
from ratelike._numerics._tile_random import TILE
from ratelike._population._coding import decode, encode, in_tiles
from ratelike._population._sums import tree_sum


class Loop(eqx.Module):
    """A layer's `Feedback`, made ready before the loop over time.

    What is under way is kept as the currents that it will be, one row for each step of the delay.
    """

    inwards: Float[Array, "tiles latents tile"]
    decoder: Float[Array, "tiles tile latents"]
    own_weight: Float[Array, " neurons"] | None  # J_ii, which is taken off again
    pool: Float[Array, "tiles tiles"] | None
    num_neurons: int = eqx.field(static=True)
    delay: int = eqx.field(static=True)  # steps

    def silence(self) -> Float[Array, "delay neurons"]:
        """The currents under way before the first spikes."""
        return jnp.zeros((self.delay, self.num_neurons), self.inwards.dtype)

    def queue(
        self,
        arriving: Float[Array, "delay neurons"],
        activity: Float[Array, "block neurons"],
    ) -> Float[Array, "delay neurons"]:
        """After a block, no longer than the delay, whose currents have arrived."""
        waiting = arriving[len(activity) :]
        return jnp.concatenate([waiting, self.currents(activity)])

    def currents(
        self, activity: Float[Array, "time neurons"]
    ) -> Float[Array, "time neurons"]:
        """What the activity of each step will be when it arrives."""
        decoded = decode(self.decoder, activity)
        if self.pool is None:
            mean = tree_sum(decoded) / self.num_neurons
        else:
            mean = jnp.einsum("ij,njq->niq", self.pool, decoded, precision="highest")
        currents = encode(mean, self.inwards, self.num_neurons)
        if self.own_weight is None:
            return currents
        return currents - self.own_weight * activity


def loop_of(layer: Layer, dt: float) -> Loop | None:
    feedback = layer.feedback
    if feedback is None:
        return None
    encoder, decoder = in_tiles(feedback.encoder), in_tiles(feedback.decoder)
    own_weight = None
    if not feedback.self_connection:
        # The diagonal of far more than is needed, but rounded the same beside whatever else.
        within_tiles = matrix_product(encoder, jnp.swapaxes(decoder, 1, 2))
        products = jnp.diagonal(within_tiles, axis1=1, axis2=2).reshape(-1)
        own_weight = products[: layer.num_neurons] * _part_of_one(
            feedback.pool, layer.num_neurons
        )
    return Loop(
        jnp.swapaxes(encoder, 1, 2),
        decoder,
        own_weight,
        feedback.pool,
        layer.num_neurons,
        feedback.delay_steps(dt),
    )


def _part_of_one(pool: Array | None, num_neurons: int) -> float | Array:
    """1/N; with several networks in one population, that of each neuron's own."""
    if pool is None:
        return 1.0 / num_neurons
    return jnp.repeat(jnp.diagonal(pool), TILE)
