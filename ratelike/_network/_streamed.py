"""Layers whose connections are drawn again whenever they are needed, instead of stored."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._network import AbstractLayer, Layer, Network
from ratelike._network._connectivity import AbstractConnectivity
from ratelike._network._relay import relay_connectivity
from ratelike._network._synaptic_gain import synaptic_gains
from ratelike._neuron import AbstractNeuronModel, check_neuron
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._tile_random import TILE, num_tiles, tile_keys
from ratelike._population._population import Population, population_of
from ratelike._signal._synapse import AbstractSynapse, SynapseLike, as_synapse
from ratelike._types import Numbers


class StreamedLayer(AbstractLayer):
    """A population whose encoders, decoders and biases follow from a key: memory does not grow with its size.

    Tile number t of the neurons has the connections `connectivity(fold_in(key, t))`. Whatever the dynamics, neurons run
    in chunks, each of which draws its connections, runs over all of time and is added up; the result is that of
    `stored()`, bit for bit. Drawing costs as much as a few time steps.

    All neurons share the parameters of `neuron`. `synapse` is as in `Layer`. Training needs stored connections.

    Raises `ValueError` for sizes < 1, a missing or raw key, parameters given per neuron, a connectivity that does
    not return a tile, and a synapse of another number of latents.
    """

    neuron: AbstractNeuronModel
    connectivity: AbstractConnectivity
    key: Array
    synapse: AbstractSynapse | None
    size: int = eqx.field(static=True)  # neurons

    def __init__(
        self,
        neuron: AbstractNeuronModel,
        connectivity: AbstractConnectivity,
        *,
        num_neurons: int,
        key: Array,
        synapse: SynapseLike | None = None,
    ) -> None:
        validation.instance("StreamedLayer.neuron", neuron, AbstractNeuronModel)
        validation.instance(
            "StreamedLayer.connectivity", connectivity, AbstractConnectivity
        )
        self.neuron = neuron
        self.connectivity = connectivity
        self.size = validation.count("StreamedLayer.num_neurons", num_neurons)
        self.key = validation.typed_key("StreamedLayer.key", key)
        for leaf in jax.tree.leaves(neuron):
            validation.shape("each parameter of StreamedLayer.neuron", leaf, ())
        encoder, decoder, bias = eqx.filter_eval_shape(connectivity, key)
        validation.shape(
            "StreamedLayer.connectivity's encoder",
            encoder,
            (TILE, connectivity.num_latents),
        )
        validation.shape(
            "StreamedLayer.connectivity's decoder",
            decoder,
            (TILE, connectivity.num_latents_out),
        )
        if bias.ndim != 0:
            validation.shape("StreamedLayer.connectivity's bias", bias, (TILE,))
        latents = connectivity.num_latents
        self.synapse = as_synapse("StreamedLayer.synapse", synapse, latents)

    @property
    def feedback(self) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return None

    @property
    def node_weights(self) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return None

    @property
    def num_neurons(self) -> int:
        return self.size

    @property
    def num_latents(self) -> int:
        return self.connectivity.num_latents

    @property
    def num_latents_out(self) -> int:
        return self.connectivity.num_latents_out

    @property
    def dtype(self) -> jnp.dtype:
        return eqx.filter_eval_shape(self.connectivity, self.key)[0].dtype

    def stored(self) -> Layer:
        drawn = self._drawn(jnp.zeros((), jnp.int32), num_tiles(self.size))
        encoder, decoder, bias = [rows[: self.size] for rows in drawn]
        return Layer(self.neuron, encoder, decoder, bias, synapse=self.synapse)

    def first(self, num_neurons: int) -> "StreamedLayer":
        """The smaller population of the first neurons."""
        return StreamedLayer(
            self.neuron,
            self.connectivity,
            num_neurons=num_neurons,
            key=self.key,
            synapse=self.synapse,
        )

    def population(
        self,
        first_tile: Integer[Array, ""] | None = None,
        num_tiles: int | None = None,
    ) -> Population:
        if first_tile is None or num_tiles is None:
            return self.stored().population()
        encoder, decoder, bias = self._drawn(first_tile, num_tiles)
        numbers = first_tile * TILE + jnp.arange(num_tiles * TILE, dtype=jnp.int32)
        exists = numbers < self.size
        return population_of(self.neuron, bias, encoder, decoder, exists=exists)

    def _drawn(
        self, first_tile: Integer[Array, ""], num_tiles: int
    ) -> tuple[
        Float[Array, "neurons latents"],
        Float[Array, "neurons latents_out"],
        Float[Array, " neurons"],
    ]:
        """Encoder, decoder and bias of whole tiles."""
        keys = tile_keys(self.key, num_tiles * TILE, first_tile)
        encoder, decoder, bias = jax.vmap(self._tile)(keys)
        # Drawn by itself, so that it is rounded as the stored connections are.
        return jax.lax.optimization_barrier(
            (
                encoder.reshape(-1, self.num_latents),
                decoder.reshape(-1, self.num_latents_out),
                bias.reshape(-1),
            )
        )

    def _tile(self, key: Array):
        encoder, decoder, bias = self.connectivity(key)
        return encoder, decoder, jnp.broadcast_to(bias, (TILE,))


@broadcasts
def streamed_relay_network(
    neuron: AbstractNeuronModel,
    *,
    num_neurons: int,
    num_latents: int,
    depth: int,
    key: Array,
    gain: float = 1.0,
    bias: Numbers = 1.0,
    synapse: SynapseLike | None = None,
) -> Network:
    """`relay_network` of `StreamedLayer`s: the same network, neuron by neuron, in memory that does not grow with it.

    Raises `ValueError` as `relay_network` does, and for a bias or neuron parameters that differ between neurons.
    """
    num_neurons = validation.count("num_neurons", num_neurons)
    num_latents = validation.count("num_latents", num_latents)
    depth = validation.count("depth", depth)
    key = validation.typed_key("key", key)
    bias = validation.parameter("bias", bias)
    validation.shape("bias", bias, ())
    validation.instance("neuron", neuron, AbstractNeuronModel)
    check_neuron("neuron", neuron, num_neurons)
    synapse = as_synapse("synapse", synapse, num_latents)
    relay = relay_connectivity(neuron, num_latents, gain, bias)
    layer_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(depth))
    gains = synaptic_gains(synapse, neuron.tau_m, depth)
    return Network(
        [
            StreamedLayer(
                neuron,
                dataclasses.replace(relay, synaptic_gain=gain),
                num_neurons=num_neurons,
                key=own_key,
                synapse=synapse,
            )
            for own_key, gain in zip(layer_keys, gains, strict=True)
        ]
    )
