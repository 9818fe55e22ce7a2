"""The random relay network."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ratelike import _validation as validation
from ratelike._network._connectivity import AbstractConnectivity
from ratelike._network._layer import Layer
from ratelike._network._mean_slope import check_slope, mean_slope
from ratelike._network._network import Network
from ratelike._network._synaptic_gain import synaptic_gains
from ratelike._neuron import AbstractNeuronModel, check_neuron
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._tile_random import TILE, per_neuron, tile_keys
from ratelike._signal._synapse import SynapseLike, as_synapse
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
    synapse: SynapseLike | None = None,
) -> Network:
    r"""A random network whose layers hand on latents of about unit variance.

    Encoders are Gaussian, iid with variance gain^2 / p: `gain` is the standard deviation of the potential. Each layer
    decodes by the slope of its neurons' stationary rate g, averaged over that distribution (Bussgang's theorem),

        D = E p / (gain^2 E[g'(b + gain xi)]),   xi ~ N(0, 1),   g in hertz,

    averaged over neurons when their parameters differ: under the conventional rate, each layer then hands on the latents
    that it receives, dX_{l+1}/dt = kappa * dX_l. With one key, the first n neurons of a larger network are the
    smaller network.

    `synapse` is that of every layer (`Layer`). Its encoders then are larger, latent by latent, so that the potentials of
    each layer have the variance that they have without synapses, for white noise at the first layer and under the
    conventional rate. In layer 1 an `ExponentialSynapse` divides the variance by 1 + r, r = tau / tau_m, an `AlphaSynapse`
    by (1 + r)^2 / (1 + r/2), and one of rise and decay by (1 + r)(1 + d)(r + d) / (r + d + r d). In deeper layers, whose
    input is coloured, the factor is an integral over frequencies. Decoders do not change.

    Raises `ValueError` for sizes < 1, gain <= 0, a missing or raw key, a bias that is not finite, a synapse of another number
    of latents, and a bias and gain at which neurons are silent or saturated, so that no decoder hands a signal on.
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
    synapse = as_synapse("synapse", synapse, num_latents)
    relay = relay_connectivity(neuron, num_latents, gain, bias)
    encoders = _encoders(relay, num_neurons, depth, key)
    gains = synaptic_gains(synapse, neuron.tau_m, depth)
    return Network(
        [
            Layer(
                neuron, scaled(each, own), relay.readout * each, bias, synapse=synapse
            )
            for each, own in zip(encoders, gains, strict=True)
        ]
    )


def scaled(
    encoder: Float[Array, "neurons latents"], gain: Float[Array, "*#latents"] | None
) -> Float[Array, "neurons latents"]:
    return encoder if gain is None else gain.astype(encoder.dtype) * encoder


@eqx.filter_jit
def _encoders(
    relay: "RelayConnectivity", num_neurons: int, depth: int, key: Array
) -> Float[Array, "depth neurons latents"]:
    """One layer after the other: XLA takes long to compile a generator of random numbers for arrays of many axes."""

    def of_layer(index: Int[Array, ""]) -> Float[Array, "neurons latents"]:
        keys = tile_keys(jax.random.fold_in(key, index), num_neurons)
        return per_neuron(relay.encoder, keys, num_neurons)

    return jax.lax.map(of_layer, jnp.arange(depth, dtype=jnp.int32))


class RelayConnectivity(AbstractConnectivity):
    """Of `relay_network`: Gaussian encoders, and decoders parallel to them."""

    num_latents: int = eqx.field(static=True)
    num_latents_out: int = eqx.field(static=True)
    spread: Float[Array, ""]  # standard deviation of the encoder's entries
    readout: Float[Array, ""]  # decoder per encoder
    bias: Float[Array, "*#neurons"]
    synaptic_gain: Float[Array, "*#latents"] | None = None

    def encoder(self, tile_key: Array) -> Float[Array, "tile latents"]:
        # Drawn flat: the same numbers as a matrix of them, for a seventh of the compile time.
        shape = (TILE * self.num_latents,)
        numbers = jax.random.normal(tile_key, shape, self.spread.dtype)
        # Multiplied as written, whether this is compiled by itself or with what uses it.
        numbers = jax.lax.optimization_barrier(numbers)
        return self.spread * numbers.reshape(TILE, self.num_latents)

    def __call__(
        self, tile_key: Array
    ) -> tuple[
        Float[Array, "tile latents"],
        Float[Array, "tile latents_out"],
        Float[Array, "*#tile"],
    ]:
        encoder = jax.lax.optimization_barrier(self.encoder(tile_key))
        return (
            scaled(encoder, self.synaptic_gain),
            self.readout * encoder,
            self.bias,
        )


def relay_connectivity(
    neuron: AbstractNeuronModel, num_latents: int, gain: Numbers, bias: Array
) -> RelayConnectivity:
    spread = validation.parameter("gain", gain, above=0.0)
    validation.shape("gain", spread, ())
    slope = jnp.mean(mean_slope(neuron, bias, spread))
    check_slope(slope, bias, spread)
    return RelayConnectivity(
        num_latents,
        num_latents,
        spread / np.sqrt(num_latents),
        num_latents / (spread**2 * slope),
        bias,
    )
