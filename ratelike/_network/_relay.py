"""The random relay network."""

import abc
import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._network._layer import Layer
from ratelike._network._network import Network
from ratelike._neuron import AbstractNeuronModel, check_neuron, fine_step
from ratelike._neuron._renewal import stationary_rate
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._tile_random import TILE, per_neuron, tile_keys
from ratelike._types import Numbers


@broadcasts
def relay_network(
    neuron: AbstractNeuronModel,
    *,
    num_neurons: int,
    num_latents: int,
    depth: int,
    key: Array,
    gain: float = 1.0,
    bias: Numbers = 1.0,
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
    validation.instance("neuron", neuron, AbstractNeuronModel)
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
        """Encoder, decoder and bias of a tile of neurons, of which there are `ratelike.extend.TILE`."""


class RelayConnectivity(AbstractConnectivity):
    """Of `relay_network`: Gaussian encoders, and decoders parallel to them."""

    num_latents: int = eqx.field(static=True)
    num_latents_out: int = eqx.field(static=True)
    spread: Float[Array, ""]  # standard deviation of the encoder's entries
    readout: Float[Array, ""]  # decoder per encoder
    bias: Float[Array, "*#neurons"]

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
    neuron: AbstractNeuronModel, num_latents: int, gain: Numbers, bias: Array
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
    neuron: AbstractNeuronModel,
    bias: Float[Array, "*#neurons"],
    gain: Float[Array, ""],
) -> Float[Array, "*#neurons"]:
    r"""E[g'(b + gain xi)] in hertz per unit of potential, by Gauss-Hermite quadrature.

    The stationary rate g is taken close to continuous time, whatever the neuron's memory: see `fine_step`.
    """

    def of_type(each: AbstractNeuronModel) -> Callable[..., Float[Array, "*#neurons"]]:
        return functools.partial(_gain_of_type, each)

    return neuron.by_type(of_type)(bias, gain)


def _gain_of_type(
    neuron: AbstractNeuronModel,
    bias: Float[Array, "*#neurons"],
    gain: Float[Array, ""],
) -> Float[Array, "*#neurons"]:
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
