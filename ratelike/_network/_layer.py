"""Layers: populations of neurons with their connections."""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._network._feedback import (
    Feedback,
    Feedbacks,
    checked_feedback,
    recurrence_of,
)
from ratelike._neuron import AbstractNeuronModel
from ratelike._numerics._tile_random import TILE
from ratelike._population._population import Population, population_of
from ratelike._types import Numbers


class AbstractLayer(eqx.Module):
    """A population of neurons with their connections, wherever these are kept."""

    neuron: eqx.AbstractVar[AbstractNeuronModel]
    feedback: eqx.AbstractVar[Feedbacks]
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
    tuple, each with its own delay.

    `node_weights` are for neurons that are quadrature nodes of an infinite population (`infinite_relay_network`): what each
    counts in a mean over neurons, in sum 1. The decoder has them already. Such a layer has rates, but does not spike.

    Raises `ValueError` for shapes that do not fit each other and for entries that are not finite, of half precision, or
    with a physical unit.
    """

    neuron: AbstractNeuronModel
    encoder: Float[Array, "neurons latents"]
    decoder: Float[Array, "neurons latents_out"]
    bias: Float[Array, " neurons"]
    feedback: Feedbacks
    node_weights: Float[Array, " neurons"] | None

    def __init__(
        self,
        neuron: AbstractNeuronModel,
        encoder: Numbers,
        decoder: Numbers,
        bias: Numbers = 0.0,
        feedback: Feedback | Sequence[Feedback] | None = None,
        *,
        node_weights: Numbers | None = None,
    ) -> None:
        validation.instance("Layer.neuron", neuron, AbstractNeuronModel)
        self.neuron = neuron
        self.encoder = validation.parameter("Layer.encoder", encoder)
        validation.shape("Layer.encoder", self.encoder, ("neurons", "latents"))
        if 0 in self.encoder.shape:
            raise ValueError(
                f"Layer.encoder must have at least one neuron and one latent, got shape {self.encoder.shape}"
            )
        num_neurons = self.encoder.shape[0]
        self.decoder = validation.parameter("Layer.decoder", decoder)
        validation.shape("Layer.decoder", self.decoder, (num_neurons, "latents"))
        bias = validation.parameter("Layer.bias", bias)
        if bias.ndim != 0:
            validation.shape("Layer.bias", bias, (num_neurons,))
        self.bias = jnp.broadcast_to(bias, (num_neurons,))
        self.feedback = checked_feedback("Layer.feedback", feedback, num_neurons)
        if node_weights is not None:
            node_weights = validation.parameter(
                "Layer.node_weights", node_weights, at_least=0.0
            )
            validation.shape("Layer.node_weights", node_weights, (num_neurons,))
        self.node_weights = node_weights

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
        if first_tile is not None and num_tiles is not None:
            numbers = first_tile * TILE + jnp.arange(num_tiles * TILE, dtype=jnp.int32)
            exists = numbers < self.num_neurons
            chosen = jnp.minimum(numbers, self.num_neurons - 1)
            layer = jax.tree.map(
                lambda leaf: leaf[chosen] if leaf.ndim > 0 else leaf, self
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
            exists=exists,
            recurrence=recurrence_of(self.feedback),
        )


def check_population(name: str, layer: AbstractLayer, what: str) -> None:
    """Its neurons are neurons, and not the nodes of an expectation."""
    if layer.node_weights is not None:
        raise ValueError(
            f"{name} must be a population of neurons for {what}, got the weighted nodes of an infinite one"
        )
