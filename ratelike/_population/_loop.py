"""One loop of recurrent input: what a population sends to itself, decoded, delayed and encoded again."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._numerics._products import tiled_matmul
from ratelike._numerics._tile_random import TILE
from ratelike._numerics._time_blocks import Part
from ratelike._population._coding import decode, encode, in_tiles
from ratelike._population._sums import tree_sum


class UnderWay(eqx.Module):
    """What was sent and has not arrived, between two steps."""

    currents: Float[Array, "delay neurons"]  # those to come, the next step's first

    def arriving(
        self, num_steps: int, part: Part | None
    ) -> Float[Array, "block neurons"]:
        """In the next steps, or in those of a block that a `part` says."""
        if part is None:
            return self.currents[:num_steps]
        before = jnp.zeros((num_steps, self.currents.shape[1]), self.currents.dtype)
        rows = jnp.concatenate([before, self.currents])
        return jax.lax.dynamic_slice_in_dim(rows, num_steps - part.first, num_steps)


class Loop(eqx.Module):
    """Weights of low rank within a population, as `Feedback` describes them, made ready before the loop over time.

    What is under way is kept as the currents that it will be, one row for each step of the delay. `pool` (tiles, tiles)
    turns sums over tiles into means over networks, where the tiles of several networks run as one population.
    """

    encoder: Float[Array, "tiles latents tile"]
    decoder: Float[Array, "tiles tile latents"]
    own_weight: Float[Array, " neurons"] | None  # J_ii, which is taken off again
    pool: Float[Array, "tiles tiles"] | None
    num_neurons: int = eqx.field(static=True)
    delay: float | None = eqx.field(static=True)  # s; None: one step

    def delay_steps(self, dt: float) -> int:
        return 1 if self.delay is None else round(self.delay / dt)

    def initial(self, dt: float) -> UnderWay:
        """Silence, before the first spikes."""
        shape = (self.delay_steps(dt), self.num_neurons)
        return UnderWay(jnp.zeros(shape, self.encoder.dtype))

    def after(
        self,
        state: UnderWay,
        activity: Float[Array, "block neurons"],
        part: Part | None,
    ) -> UnderWay:
        """After a block no longer than the delay, whose own currents have arrived."""
        if part is None:
            remaining = state.currents[len(activity) :]
            return UnderWay(jnp.concatenate([remaining, self._currents(activity)]))
        sent = jnp.roll(self._currents(activity), -part.first, axis=0)
        rows = jnp.concatenate([state.currents, sent])
        delay = len(state.currents)
        return UnderWay(jax.lax.dynamic_slice_in_dim(rows, part.length, delay))

    def throughout(
        self, state: UnderWay, activity: Float[Array, "time neurons"]
    ) -> Float[Array, "time neurons"]:
        """The currents that arrive in each step of a whole run, of which the activity is known."""
        currents = jnp.concatenate([state.currents, self._currents(activity)])
        return currents[: len(activity)]

    def _currents(
        self, activity: Float[Array, "time neurons"]
    ) -> Float[Array, "time neurons"]:
        """What the activity of each step will be when it arrives."""
        decoded = decode(self.decoder, activity)
        if self.pool is None:
            mean = tree_sum(decoded) / self.num_neurons
        else:
            mean = jnp.einsum("ij,njq->niq", self.pool, decoded, precision="highest")
        currents = encode(mean, self.encoder, self.num_neurons)
        if self.own_weight is None:
            return currents
        return currents - self.own_weight * activity


def loop_of(
    encoder: Float[Array, "neurons latents"],
    decoder: Float[Array, "neurons latents"],
    delay: float | None,
    *,
    self_connection: bool,
    pool: Float[Array, "tiles tiles"] | None = None,
) -> Loop:
    """From rows of connections."""
    num_neurons = len(encoder)
    encoders, decoders = in_tiles(encoder), in_tiles(decoder)
    own_weight = None
    if not self_connection:
        # The diagonal of far more than is needed, but rounded the same beside whatever else.
        within_tiles = tiled_matmul(encoders, jnp.swapaxes(decoders, 1, 2))
        products = jnp.diagonal(within_tiles, axis1=1, axis2=2).reshape(-1)
        own_weight = products[:num_neurons] * _weight_in_mean(pool, num_neurons)
    return Loop(
        encoder=jnp.swapaxes(encoders, 1, 2),
        decoder=decoders,
        own_weight=own_weight,
        pool=pool,
        num_neurons=num_neurons,
        delay=delay,
    )


def _weight_in_mean(
    pool: Float[Array, "tiles tiles"] | None, num_neurons: int
) -> float | Float[Array, " neurons"]:
    """1/N, with the N of each neuron's own network."""
    if pool is None:
        return 1.0 / num_neurons
    return jnp.repeat(jnp.diagonal(pool), TILE)
