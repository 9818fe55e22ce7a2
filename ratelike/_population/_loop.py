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
from ratelike._signal._synapse import AbstractSynapse, split_delay
from ratelike._types import PyTree


class UnderWay(eqx.Module):
    """What was sent and has not arrived, between two steps."""

    currents: Float[Array, "delay neurons"]  # those to come, the next step's first
    synapse: PyTree = None  # its state
    own: PyTree = None  # that of what each neuron would send to itself

    def arriving(
        self, num_steps: int, part: Part | None
    ) -> Float[Array, "block neurons"]:
        """In the next steps, or in those of a block that a `part` says."""
        if part is None:
            return self.currents[:num_steps]
        rows = jnp.zeros((2 * num_steps, self.currents.shape[1]), self.currents.dtype)
        arriving = self.currents[:num_steps]
        rows = jax.lax.dynamic_update_slice_in_dim(rows, arriving, part.first, 0)
        # Put there before they are used: within the loop over neurons XLA would look for each of them by itself.
        return jax.lax.optimization_barrier(rows)[:num_steps]


class Loop(eqx.Module):
    """Weights of low rank within a population, as `Feedback` describes them, made ready before the loop over time.

    What is under way is kept as the currents that it will be, one row for each step of the delay, and has passed through
    the synapse. `pool` (tiles, tiles) turns sums over tiles into means over networks, where the tiles of several networks
    run as one population; a synapse then has a leading axis of tiles.
    """

    encoder: Float[Array, "tiles latents tile"]
    decoder: Float[Array, "tiles tile latents"]
    # J_ii, which is taken off again; by latents, where the synapse treats these differently.
    own_weight: Float[Array, "neurons *latents"] | None
    pool: Float[Array, "tiles tiles"] | None
    num_neurons: int = eqx.field(static=True)
    synapse: AbstractSynapse | None
    delay: float | None = eqx.field(static=True)  # s; None: one step
    synaptic_delay: float = eqx.field(static=True)  # s, in addition

    def delay_steps(self, dt: float) -> int:
        steps = 1 if self.delay is None else round(self.delay / dt)
        return steps + round(self.synaptic_delay / dt)

    def initial(self, dt: float) -> UnderWay:
        """Silence, before the first spikes."""
        dtype, neurons = self.encoder.dtype, self.num_neurons
        currents = jnp.zeros((self.delay_steps(dt), neurons), dtype)
        if self.synapse is None:
            return UnderWay(currents)
        tiles, latents, _ = self.encoder.shape
        shape = (latents,) if self.pool is None else (tiles, latents)
        state, own = self.synapse.initial(shape, dtype, dt), None
        if self.own_weight is not None:
            shape = (neurons, *self.own_weight.shape[1:])
            own = self._own_synapse().initial(shape, dtype, dt)
        return UnderWay(currents, state, own)

    @property
    def num_latents(self) -> int:
        return self.encoder.shape[1]

    def settled(
        self,
        signal: Float[Array, " latents"],
        activity: Float[Array, " neurons"],
        dt: float,
    ) -> UnderWay:
        """After constant activity for a long time, of which the decoder makes the signal dX/dt."""
        current = encode((signal * dt)[None], self.encoder, self.num_neurons)[0]
        synapse = own = None
        if self.synapse is not None:
            synapse = self.synapse.settled(signal, dt)
        if self.own_weight is not None:
            weight = self.own_weight
            if self.synapse is not None:
                rate = jnp.broadcast_to((activity / dt)[:, None], weight.shape)
                own = self._own_synapse().settled(rate, dt)
                weight = jnp.sum(weight, axis=-1)
            current = current - weight * activity
        shape = (self.delay_steps(dt), self.num_neurons)
        return UnderWay(jnp.broadcast_to(current, shape), synapse, own)

    def after(
        self,
        state: UnderWay,
        activity: Float[Array, "block neurons"],
        dt: float,
        part: Part | None,
    ) -> UnderWay:
        """After a block no longer than the delay, whose own currents have arrived; or after a part of it."""
        if part is None:
            return self.throughout(state, activity, dt)[1]
        sent = self._sent(state, activity, dt, part)
        rows = jnp.concatenate([state.currents, sent.currents])
        delay = len(state.currents)
        currents = jax.lax.dynamic_slice_in_dim(rows, part.length, delay)
        return UnderWay(currents, sent.synapse, sent.own)

    def throughout(
        self, state: UnderWay, activity: Float[Array, "time neurons"], dt: float
    ) -> tuple[Float[Array, "time neurons"], UnderWay]:
        """The currents that arrive in each of any number of steps, of which the activity is known, and what is left."""
        sent = self._sent(state, activity, dt)
        rows = jnp.concatenate([state.currents, sent.currents])
        left = UnderWay(rows[len(activity) :], sent.synapse, sent.own)
        return rows[: len(activity)], left

    def _sent(
        self,
        state: UnderWay,
        activity: Float[Array, "time neurons"],
        dt: float,
        part: Part | None = None,
    ) -> UnderWay:
        """What the activity of each step will be when it arrives; of a part of a block, that comes first."""
        if part is not None:
            activity = jnp.roll(activity, -part.first, axis=0)
        decoded = decode(self.decoder, activity)
        if self.pool is None:
            mean = tree_sum(decoded) / self.num_neurons
        else:
            mean = jnp.einsum("ij,njq->niq", self.pool, decoded, precision="highest")
        synapse, own = state.synapse, state.own
        if self.synapse is not None:
            synapse, mean = _filtered(self.synapse, synapse, mean, dt, part)
        currents = encode(mean, self.encoder, self.num_neurons)
        if self.own_weight is None:
            return UnderWay(currents, synapse)
        if self.synapse is None:
            return UnderWay(currents - self.own_weight * activity)
        shape = (len(activity), *self.own_weight.shape)
        activity = jnp.broadcast_to(activity[..., None], shape)
        own, filtered = _filtered(self._own_synapse(), own, activity, dt, part)
        return UnderWay(
            currents - jnp.sum(self.own_weight * filtered, axis=-1), synapse, own
        )

    def _own_synapse(self) -> AbstractSynapse:
        """The synapse of each neuron."""
        assert self.synapse is not None
        if self.pool is None:
            return self.synapse

        def of_neurons(leaf: Array) -> Array:
            if leaf.ndim == 0:
                return leaf
            return jnp.repeat(leaf, TILE, axis=0)[: self.num_neurons]

        return jax.tree.map(of_neurons, self.synapse)


def _filtered(
    synapse: AbstractSynapse,
    state: PyTree,
    increments: Float[Array, "time *shape"],
    dt: float,
    part: Part | None,
) -> tuple[PyTree, Float[Array, "time *shape"]]:
    """What goes out, and the state afterwards: of a part of a block, after its last step."""
    if part is None:
        return synapse(state, increments, dt)

    def one_step(state: PyTree, inputs: tuple[Array, Array]) -> tuple[PyTree, Array]:
        index, increment = inputs
        after, out = synapse(state, increment[None], dt)
        after = jax.tree.map(
            lambda new, old: jnp.where(index < part.length, new, old), after, state
        )
        return after, out[0]

    steps = jnp.arange(len(increments), dtype=jnp.int32)
    return jax.lax.scan(one_step, state, (steps, increments))


def loop_of(
    encoder: Float[Array, "neurons latents"],
    decoder: Float[Array, "neurons latents"],
    delay: float | None,
    *,
    self_connection: bool,
    synapse: AbstractSynapse | None = None,
    pool: Float[Array, "tiles tiles"] | None = None,
) -> Loop:
    """From rows of connections."""
    num_neurons = len(encoder)
    encoders, decoders = in_tiles(encoder), in_tiles(decoder)
    synapse, synaptic_delay = split_delay(synapse)
    own_weight = None
    if not self_connection:
        share = _weight_in_mean(pool, num_neurons)
        # The diagonal of far more than is needed, but rounded the same beside whatever else.
        within_tiles = tiled_matmul(encoders, jnp.swapaxes(decoders, 1, 2))
        products = jnp.diagonal(within_tiles, axis1=1, axis2=2).reshape(-1)
        own_weight = products[:num_neurons] * share
        if synapse is not None:
            own_weight = own_weight[:, None]
            if synapse.num_latents not in (None, 1):
                own_weight = encoder * decoder * jnp.reshape(share, (-1, 1))
    return Loop(
        encoder=jnp.swapaxes(encoders, 1, 2),
        decoder=decoders,
        own_weight=own_weight,
        pool=pool,
        num_neurons=num_neurons,
        synapse=synapse,
        delay=delay,
        synaptic_delay=synaptic_delay,
    )


def _weight_in_mean(
    pool: Float[Array, "tiles tiles"] | None, num_neurons: int
) -> float | Float[Array, " neurons"]:
    """1/N, with the N of each neuron's own network."""
    if pool is None:
        return 1.0 / num_neurons
    return jnp.repeat(jnp.diagonal(pool), TILE)
