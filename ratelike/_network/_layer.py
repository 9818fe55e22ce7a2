"""Layers: populations of neurons with their connections."""

import abc
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._network._feedback import (
    Feedback,
    Feedbacks,
    checked_feedback,
    recurrence_of,
)
from ratelike._network._parts import Parts, checked_parts, membership, ranges
from ratelike._neuron import AbstractNeuronModel
from ratelike._numerics._tile_random import TILE
from ratelike._population._population import Population, population_of
from ratelike._signal._synapse import (
    AbstractSynapse,
    SynapseLike,
    as_synapse,
    map_apart,
)
from ratelike._types import Numbers


class AbstractLayer(eqx.Module):
    """A population of neurons with their connections, wherever these are kept."""

    neuron: eqx.AbstractVar[AbstractNeuronModel]
    feedback: eqx.AbstractVar[Feedbacks]
    synapse: eqx.AbstractVar[AbstractSynapse | None]
    node_weights: eqx.AbstractVar[Array | None]

    @property
    @abc.abstractmethod
    def num_neurons(self) -> int:
        """N."""

    @property
    @abc.abstractmethod
    def num_latents(self) -> int:
        """Latents that come in."""

    @property
    @abc.abstractmethod
    def num_latents_out(self) -> int:
        """Latents that are handed on."""

    @property
    @abc.abstractmethod
    def dtype(self) -> jnp.dtype:
        """The floating-point type of the connections."""

    @abc.abstractmethod
    def stored(self) -> "Layer":
        """The same population with its connections in memory."""

    @abc.abstractmethod
    def population(
        self,
        first_tile: Integer[Array, ""] | None = None,
        num_tiles: int | None = None,
    ) -> Population:
        """What runs: all neurons, or those of whole tiles from number `first_tile` on.

        Where the tiles reach beyond the last neuron, copies of a neuron that decode to nothing fill them up.
        """


class Layer(AbstractLayer):
    r"""A population that maps an incoming path X to an outgoing path: dY = (1/N) sum_j D_j dN_j.

    Neuron i has input potential h_i = bias_i + kappa * sum_k E_ik dX_k. Rows of the encoder should differ from neuron
    to neuron: *duplicates* (equal rows) share their fluctuations with no one to average them out.

    `encoder` is in units of the potential per latent, `decoder` in latents times seconds, `bias` in units of the
    potential; a scalar bias is shared. With `feedback` the neurons also hear each other: one `Feedback`, or several in a
    sequence, each with its own delay and synapse.

    `synapse` filters the incoming path, latent by latent, before the neurons see it: one of `ExponentialSynapse`,
    `AlphaSynapse`, `DoubleExponentialSynapse` and `Delay`, or several in sequence. It has area one, so that a slow signal
    moves the potential as before, and is exact on the grid. It is run once for the layer.

        layer = rl.Layer(neuron, encoder, decoder, synapse=[rl.Delay(2e-3), rl.ExponentialSynapse(5e-3)])

    Without an `encoder` (None, or one of no latents) nothing comes in from outside: `simulate(network, None, grid, ...)`.

    `node_weights` are for neurons that are quadrature nodes of an infinite population (`infinite_relay_network`): what each
    counts in a mean over neurons, in sum 1. The decoder has them already. Such a layer has rates, but does not spike.

    `populations` names parts of the layer, with their numbers of neurons in the order in which these lie: their mean
    rates are in `trajectory.population_rates`. `population_layer` makes such a layer.

    Raises `ValueError` for shapes that do not fit each other and for entries that are not finite, of half precision, or
    with a physical unit, for a synapse of another number of latents, and for populations that are not all neurons.
    """

    neuron: AbstractNeuronModel
    encoder: Float[Array, "neurons latents"]
    decoder: Float[Array, "neurons latents_out"]
    bias: Float[Array, " neurons"]
    feedback: Feedbacks
    synapse: AbstractSynapse | None
    node_weights: Float[Array, " neurons"] | None
    parts: Parts = eqx.field(static=True)

    def __init__(
        self,
        neuron: AbstractNeuronModel,
        encoder: Numbers | None,
        decoder: Numbers,
        bias: Numbers = 0.0,
        feedback: Feedback | Sequence[Feedback] | None = None,
        *,
        synapse: SynapseLike | None = None,
        node_weights: Numbers | None = None,
        populations: Mapping[str, int] | None = None,
    ) -> None:
        validation.instance("Layer.neuron", neuron, AbstractNeuronModel)
        self.neuron = neuron
        self.decoder = validation.parameter("Layer.decoder", decoder)
        validation.shape("Layer.decoder", self.decoder, ("neurons", "latents"))
        self.encoder = _checked_encoder(encoder, self.decoder)
        num_neurons = self.encoder.shape[0]
        validation.shape("Layer.decoder", self.decoder, (num_neurons, "latents"))
        bias = validation.parameter("Layer.bias", bias)
        if bias.ndim != 0:
            validation.shape("Layer.bias", bias, (num_neurons,))
        self.bias = jnp.broadcast_to(bias, (num_neurons,))
        self.feedback = checked_feedback("Layer.feedback", feedback, num_neurons)
        latents = self.encoder.shape[1]
        if synapse is not None and latents == 0:
            raise ValueError(
                f"Layer.synapse must be None where nothing comes in, got {validation.shown(synapse)}"
            )
        self.synapse = as_synapse("Layer.synapse", synapse, latents)
        if node_weights is not None:
            node_weights = validation.parameter(
                "Layer.node_weights", node_weights, at_least=0.0
            )
            validation.shape("Layer.node_weights", node_weights, (num_neurons,))
        self.node_weights = node_weights
        self.parts = checked_parts("Layer.populations", populations, num_neurons)

    @property
    def populations(self) -> dict[str, range]:
        """The numbers of the neurons of each named population."""
        return ranges(self.parts)

    @property
    def num_neurons(self) -> int:
        return self.encoder.shape[-2]

    @property
    def num_latents(self) -> int:
        return self.encoder.shape[-1]

    @property
    def num_latents_out(self) -> int:
        return self.decoder.shape[-1]

    @property
    def dtype(self) -> jnp.dtype:
        return self.encoder.dtype

    def stored(self) -> "Layer":
        return self

    def population(
        self,
        first_tile: Integer[Array, ""] | None = None,
        num_tiles: int | None = None,
    ) -> Population:
        layer, exists = self, None
        numbers = jnp.arange(self.num_neurons, dtype=jnp.int32)
        if first_tile is not None and num_tiles is not None:
            numbers = first_tile * TILE + jnp.arange(num_tiles * TILE, dtype=jnp.int32)
            exists = numbers < self.num_neurons
            chosen = jnp.minimum(numbers, self.num_neurons - 1)
            layer = map_apart(
                lambda leaf: leaf[chosen] if leaf.ndim > 0 else leaf,
                lambda synapse: synapse,
                self,
            )
        counts = None
        if layer.node_weights is not None:
            counts = layer.node_weights * self.num_neurons
        return population_of(
            layer.neuron,
            layer.bias,
            layer.encoder,
            layer.decoder,
            counts=counts,
            parts=membership(self.parts, numbers),
            exists=exists,
            recurrence=recurrence_of(self.feedback),
        )


def _checked_encoder(
    encoder: Numbers | None, decoder: Float[Array, "neurons latents_out"]
) -> Float[Array, "neurons latents"]:
    """Rows of the neurons, of no entries where nothing comes in."""
    if encoder is None:
        return decoder[:, :0]
    # Lists may be ragged, and have no shape then.
    if getattr(encoder, "ndim", 0) == 2 and np.shape(encoder)[1] == 0:
        validation.shape("Layer.encoder", encoder, (len(decoder), 0))
        return jnp.asarray(encoder, decoder.dtype)
    checked = validation.parameter("Layer.encoder", encoder)
    validation.shape("Layer.encoder", checked, ("neurons", "latents"))
    return checked


def check_population(name: str, layer: AbstractLayer, what: str) -> None:
    """Its neurons are neurons, and not the nodes of an expectation."""
    if layer.node_weights is not None:
        raise ValueError(
            f"{name} must be a population of neurons for {what}, got the weighted nodes of an infinite one"
        )
