"""Layers, networks of layers, and the random relay network."""

import abc
from collections.abc import Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Integer

from ratelike import _plausibility as plausibility
from ratelike import _validation as validation
from ratelike._broadcasting import broadcasts
from ratelike._feedback import Feedback
from ratelike._neuron import AbstractNeuron, Mixture, check_neuron, fine_step
from ratelike._random import TILE, per_neuron, tile_keys
from ratelike._renewal import stationary_rate


class AbstractLayer(eqx.Module):
    """A population of neurons with their connections, wherever these are kept."""

    neuron: eqx.AbstractVar[AbstractNeuron]
    feedback: eqx.AbstractVar[Feedback | None]
    weights: eqx.AbstractVar[Array | None]

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
    def part(self, first_tile: Integer[Array, ""], num_tiles: int) -> "Layer":
        """Whole tiles of neurons, from number `first_tile` on; neurons beyond the last one stand for no one."""


class Layer(AbstractLayer):
    r"""A population that maps an incoming path X to an outgoing path: dY = (1/N) sum_j D_j dN_j.

    Neuron i has input potential h_i = bias_i + kappa * sum_k E_ik dX_k. Rows of the encoder should differ from neuron
    to neuron: *duplicates* (equal rows) share their fluctuations with no one to average them out.

    `encoder` is in units of the potential per latent, `decoder` in latents times seconds, `bias` in units of the
    potential; a scalar bias is shared. With `feedback` the neurons also hear each other: see `Feedback`.

    `weights` are for neurons that are quadrature nodes of an infinite population (`infinite_relay_network`): what each
    counts in a mean over neurons, in sum 1. The decoder has them already. Such a layer has rates, but does not spike.

    Raises `ValueError` for shapes that do not fit each other and for entries that are not finite, of half precision, or
    with a physical unit.
    """

    neuron: AbstractNeuron
    encoder: Float[Array, "neurons latents"]
    decoder: Float[Array, "neurons latents_out"]
    bias: Float[Array, " neurons"]
    feedback: Feedback | None
    weights: Float[Array, " neurons"] | None

    def __init__(
        self,
        neuron: AbstractNeuron,
        encoder: ArrayLike,
        decoder: ArrayLike,
        bias: ArrayLike = 0.0,
        feedback: Feedback | None = None,
        *,
        weights: ArrayLike | None = None,
    ):
        validation.instance("Layer.neuron", neuron, AbstractNeuron)
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
        if feedback is not None:
            validation.instance("Layer.feedback", feedback, Feedback)
            if feedback.num_neurons != num_neurons:
                raise ValueError(
                    f"Layer.feedback must have the {num_neurons} neurons of the layer, got {feedback.num_neurons}"
                )
        self.feedback = feedback
        if weights is not None:
            weights = validation.parameter("Layer.weights", weights, at_least=0.0)
            validation.shape("Layer.weights", weights, (num_neurons,))
        self.weights = weights

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

    def part(self, first_tile: Integer[Array, ""], num_tiles: int) -> "Layer":
        neurons = first_tile * TILE + jnp.arange(num_tiles * TILE, dtype=jnp.int32)
        neurons = jnp.minimum(neurons, self.num_neurons - 1)
        return jax.tree.map(lambda leaf: leaf[neurons] if leaf.ndim > 0 else leaf, self)


def check_population(name: str, layer: AbstractLayer, what: str) -> None:
    """Its neurons are neurons, and not the nodes of an expectation."""
    if layer.weights is not None:
        raise ValueError(
            f"{name} must be a population of neurons for {what}, got the weighted nodes of an infinite one"
        )


class Network(eqx.Module):
    """Layers that hand their paths on, the last one to output units that only decode: y = kappa * dX_L.

    `output_tau_m` is the membrane time constant of the output units in seconds; by default that of the last layer's
    neurons (their mean).

    Raises `ValueError` for no layers, or for a layer that does not take as many latents as the one before hands on.
    """

    layers: tuple[Any, ...]  # of `Layer`, or of another `AbstractLayer`
    output_tau_m: Float[Array, ""]

    def __init__(
        self, layers: Sequence[AbstractLayer], output_tau_m: ArrayLike | None = None
    ):
        validation.instance("Network.layers", layers, Iterable)
        self.layers = tuple(layers)
        for index, layer in enumerate(self.layers):
            validation.instance(f"Network.layers[{index}]", layer, AbstractLayer)
        if not self.layers:
            raise ValueError("Network.layers must hold at least one layer, got none")
        for index, (before, after) in enumerate(
            zip(self.layers[:-1], self.layers[1:], strict=True)
        ):
            handed_on = before.num_latents_out
            if after.num_latents != handed_on:
                raise ValueError(
                    f"Network.layers[{index + 1}].encoder must take the {handed_on} latents that layer {index} hands "
                    f"on, got {after.num_latents}"
                )
        name = "Network.output_tau_m"
        if output_tau_m is None:
            output_tau_m = jnp.mean(self.layers[-1].neuron.tau_m)
            self.output_tau_m = validation.parameter(name, output_tau_m, above=0.0)
        else:
            self.output_tau_m = plausibility.time_constant(name, output_tau_m, ())
        validation.shape("Network.output_tau_m", self.output_tau_m, ())

    @property
    def depth(self) -> int:
        return len(self.layers)

    def stored(self) -> "Network":
        """The same network with all connections in memory."""
        layers = tuple(layer.stored() for layer in self.layers)
        return eqx.tree_at(lambda network: network.layers, self, layers)

    def weights(self, layer: int) -> Float[Array, "neurons_out neurons_in"]:
        """W = E_{l+1} D_l^T / N from layer `layer` to the next: for pictures; nothing computes with it.

        Raises `ValueError` for a layer without a next one.
        """
        layer = validation.count("layer", layer, at_least=0)
        if layer > self.depth - 2:
            raise ValueError(
                f"layer must have a next one: at most {self.depth - 2} in a network of {self.depth} layers, got {layer}"
            )
        before, after = self.layers[layer].stored(), self.layers[layer + 1].stored()
        return (
            jnp.matmul(after.encoder, before.decoder.T, precision="highest")
            / before.num_neurons
        )


@broadcasts
def relay_network(
    neuron: AbstractNeuron,
    *,
    num_neurons: int,
    num_latents: int,
    depth: int,
    key: Array,
    gain: float = 1.0,
    bias: ArrayLike = 1.0,
) -> Network:
    r"""A random network whose layers hand on latents of about unit variance.

    Encoders are Gaussian, iid with variance gain^2 / p; each layer decodes with the gain of its neurons averaged over
    the Gaussian distribution of their input (Bussgang's theorem),

        D = E p / (gain^2 E[g'(b + gain xi)]),   xi ~ N(0, 1),   g in hertz,

    averaged over neurons when their parameters differ: under the static gain g, each layer then hands on the latents
    that it receives, dX_{l+1}/dt = kappa * dX_l. With one key, the first n neurons of a larger network are the
    smaller network.

    Raises `ValueError` for sizes < 1, gain <= 0, a missing or raw key, a bias that is not finite, and a bias and gain at
    which neurons are silent or saturated, so that no decoder hands a signal on.
    """
    num_neurons = validation.count("num_neurons", num_neurons)
    num_latents = validation.count("num_latents", num_latents)
    depth = validation.count("depth", depth)
    key = validation.typed_key("key", key)
    bias = validation.parameter("bias", bias)
    if bias.ndim != 0:
        validation.shape("bias", bias, (num_neurons,))
    validation.instance("neuron", neuron, AbstractNeuron)
    check_neuron("neuron", neuron, num_neurons)
    relay = relay_connectivity(neuron, num_latents, gain, bias)
    encoders = _encoders(relay, num_neurons, depth, key)
    return Network(
        [Layer(neuron, each, relay.readout * each, bias) for each in encoders]
    )


@eqx.filter_jit
def _encoders(
    relay: "RelayConnectivity", num_neurons: int, depth: int, key: Array
) -> Float[Array, "depth neurons latents"]:
    """One layer after the other: XLA takes long to compile a generator of random numbers for arrays of many axes."""

    def of_layer(index):
        keys = tile_keys(jax.random.fold_in(key, index), num_neurons)
        return per_neuron(relay.encoder, keys, num_neurons)

    return jax.lax.map(of_layer, jnp.arange(depth, dtype=jnp.int32))


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
        Float[Array, "#tile"],
    ]:
        """Encoder, decoder and bias of a tile of neurons, of which there are `ratelike.TILE`."""


class RelayConnectivity(AbstractConnectivity):
    """Of `relay_network`: Gaussian encoders, and decoders parallel to them."""

    num_latents: int = eqx.field(static=True)
    num_latents_out: int = eqx.field(static=True)
    spread: Float[Array, ""]  # standard deviation of the encoder's entries
    readout: Float[Array, ""]  # decoder per encoder
    bias: Float[Array, "#neurons"]

    def encoder(self, tile_key: Array) -> Float[Array, "tile latents"]:
        # Drawn flat: the same numbers as a matrix of them, for a seventh of the compile time.
        shape = (TILE * self.num_latents,)
        numbers = jax.random.normal(tile_key, shape, self.spread.dtype)
        # Multiplied as written, whether this is compiled by itself or with what uses it.
        numbers = jax.lax.optimization_barrier(numbers)
        return self.spread * numbers.reshape(TILE, self.num_latents)

    def __call__(self, tile_key: Array):
        encoder = jax.lax.optimization_barrier(self.encoder(tile_key))
        return encoder, self.readout * encoder, self.bias


def relay_connectivity(
    neuron: AbstractNeuron, num_latents: int, gain: ArrayLike, bias: Array
) -> RelayConnectivity:
    spread = validation.parameter("gain", gain, above=0.0)
    validation.shape("gain", spread, ())
    slope = jnp.mean(gaussian_gain(neuron, bias, spread))
    check_slope(slope, bias, spread)
    return RelayConnectivity(
        num_latents,
        num_latents,
        spread / np.sqrt(num_latents),
        num_latents / (spread**2 * slope),
        bias,
    )


def check_slope(slope: Array, bias: Array, gain: Array) -> None:
    """The rate depends on the potential, so that decoders can hand a signal on."""
    if not validation.is_concrete((slope, bias, gain)):
        return
    limits = jnp.finfo(slope.dtype)
    product = (
        float(gain) * float(gain) * abs(float(slope))
    )  # by which decoders are divided
    if not float(limits.tiny) ** 0.5 < product < float(limits.max) ** 0.5:
        raise ValueError(
            f"bias and gain must be where the neuron's stationary rate depends on the potential, got a mean slope of "
            f"{float(slope):g} Hz per unit of potential at bias {validation.shown(np.asarray(bias).tolist())} and gain "
            f"{float(gain):g}: the neuron is silent or saturated there"
        )


def gaussian_gain(
    neuron: AbstractNeuron,
    bias: Float[Array, "#neurons"],
    gain: Float[Array, ""],
) -> Float[Array, "#neurons"]:
    r"""E[g'(b + gain xi)] in hertz per unit of potential, by Gauss-Hermite quadrature.

    The stationary rate g is taken close to continuous time, whatever the neuron's memory: see `fine_step`.
    """
    if isinstance(neuron, Mixture):
        return neuron.select(
            [gaussian_gain(each, bias, gain) for each in neuron.neurons]
        )
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    weights = weights / weights.sum()
    dt = fine_step(neuron, bias)

    def rate(offset):
        return stationary_rate(neuron, bias + offset, dt)

    def slope(node):
        offset = node * gain
        return jax.jvp(rate, (offset,), (jnp.ones_like(offset),))[1]

    slopes = jax.vmap(slope)(jnp.asarray(nodes, dtype=gain.dtype))
    return jnp.tensordot(jnp.asarray(weights, dtype=slopes.dtype), slopes, axes=1)
