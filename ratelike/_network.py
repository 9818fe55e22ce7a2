"""Layers, networks of layers, and the random relay network."""

from collections.abc import Iterable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ratelike import _validation as validation
from ratelike._neuron import AbstractNeuron, Mixture, check_neuron
from ratelike._random import TILE, per_neuron, tile_keys
from ratelike._renewal import stationary_rate


class Layer(eqx.Module):
    r"""A population that maps an incoming path X to an outgoing path: dY = (1/N) sum_j D_j dN_j.

    Neuron i has input potential h_i = bias_i + kappa * sum_k E_ik dX_k. Rows of the encoder should differ from neuron
    to neuron: *duplicates* (equal rows) share their fluctuations with no one to average them out.

    `encoder` is in units of the potential per latent, `decoder` in latents times seconds, `bias` in units of the
    potential; a scalar bias is shared.

    `weights` are for neurons that are quadrature nodes of an infinite population (`infinite_relay_network`): what each
    counts in a mean over neurons, in sum 1. The decoder has them already. Such a layer has rates, but does not spike.

    Raises `ValueError` for shapes that do not fit each other and for entries that are not finite.
    """

    neuron: AbstractNeuron
    encoder: Float[Array, "neurons latents"]
    decoder: Float[Array, "neurons latents_out"]
    bias: Float[Array, " neurons"]
    weights: Float[Array, " neurons"] | None

    def __init__(
        self,
        neuron: AbstractNeuron,
        encoder: ArrayLike,
        decoder: ArrayLike,
        bias: ArrayLike = 0.0,
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
        if weights is not None:
            weights = validation.parameter("Layer.weights", weights, at_least=0.0)
            validation.shape("Layer.weights", weights, (num_neurons,))
        self.weights = weights

    @property
    def num_neurons(self) -> int:
        return self.encoder.shape[-2]

    @property
    def num_latents(self) -> int:
        """Latents that come in."""
        return self.encoder.shape[-1]


def check_population(name: str, layer: Layer, what: str) -> None:
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

    layers: tuple[Layer, ...]
    output_tau_m: Float[Array, ""]

    def __init__(self, layers: Sequence[Layer], output_tau_m: ArrayLike | None = None):
        validation.instance("Network.layers", layers, Iterable)
        self.layers = tuple(layers)
        for index, layer in enumerate(self.layers):
            validation.instance(f"Network.layers[{index}]", layer, Layer)
        if not self.layers:
            raise ValueError("Network.layers must hold at least one layer, got none")
        for index, (before, after) in enumerate(
            zip(self.layers[:-1], self.layers[1:], strict=True)
        ):
            handed_on = before.decoder.shape[-1]
            if after.num_latents != handed_on:
                raise ValueError(
                    f"Network.layers[{index + 1}].encoder must take the {handed_on} latents that layer {index} hands "
                    f"on, got {after.num_latents}"
                )
        if output_tau_m is None:
            output_tau_m = jnp.mean(self.layers[-1].neuron.tau_m)
        self.output_tau_m = validation.parameter(
            "Network.output_tau_m", output_tau_m, above=0.0
        )
        validation.shape("Network.output_tau_m", self.output_tau_m, ())

    @property
    def depth(self) -> int:
        return len(self.layers)

    def weights(self, layer: int) -> Float[Array, "neurons_out neurons_in"]:
        """W = E_{l+1} D_l^T / N from layer `layer` to the next: for pictures; nothing computes with it."""
        before, after = self.layers[layer], self.layers[layer + 1]
        return (
            jnp.matmul(after.encoder, before.decoder.T, precision="highest")
            / before.num_neurons
        )


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

    Raises `ValueError` for sizes < 1, gain <= 0, a missing or raw key, and a bias that is not finite.
    """
    num_neurons = validation.count("num_neurons", num_neurons)
    num_latents = validation.count("num_latents", num_latents)
    depth = validation.count("depth", depth)
    key = validation.typed_key("key", key)
    spread = validation.parameter("gain", gain, above=0.0)
    validation.shape("gain", spread, ())
    bias = validation.parameter("bias", bias)
    if bias.ndim != 0:
        validation.shape("bias", bias, (num_neurons,))
    validation.instance("neuron", neuron, AbstractNeuron)
    check_neuron("neuron", neuron, num_neurons)
    slope = jnp.mean(gaussian_gain(neuron, bias, spread))

    def encoder(layer_key: Array) -> Array:
        def draw(tile_key):
            # Drawn flat: the same numbers as a matrix of them, for a seventh of the compile time.
            numbers = jax.random.normal(tile_key, (TILE * num_latents,), slope.dtype)
            return numbers.reshape(TILE, num_latents)

        directions = per_neuron(draw, tile_keys(layer_key, num_neurons), num_neurons)
        return directions * (spread / np.sqrt(num_latents))

    layer_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(depth))
    encoders = jax.vmap(encoder)(layer_keys)
    decoders = encoders * (num_latents / (spread**2 * slope))
    return Network(
        [
            Layer(neuron, *arrays, bias)
            for arrays in zip(encoders, decoders, strict=True)
        ]
    )


def gaussian_gain(
    neuron: AbstractNeuron,
    bias: Float[Array, "#neurons"],
    gain: Float[Array, ""],
) -> Float[Array, "#neurons"]:
    r"""E[g'(b + gain xi)] in hertz per unit of potential, by Gauss-Hermite quadrature.

    The stationary rate g is taken close to continuous time, at 2000 steps in the neuron's memory.
    """
    if isinstance(neuron, Mixture):
        return neuron.select(
            [gaussian_gain(each, bias, gain) for each in neuron.neurons]
        )
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    weights = weights / weights.sum()
    dt = neuron.memory / 2000.0 if neuron.memory > 0.0 else 1e-6

    def rate(offset):
        return stationary_rate(neuron, bias + offset, dt)

    def slope(node):
        offset = node * gain
        return jax.jvp(rate, (offset,), (jnp.ones_like(offset),))[1]

    slopes = jax.vmap(slope)(jnp.asarray(nodes, dtype=gain.dtype))
    return jnp.tensordot(jnp.asarray(weights, dtype=slopes.dtype), slopes, axes=1)
