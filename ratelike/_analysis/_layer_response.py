"""The linear response of a layer at one z: its loops are closed in the latents of its feedback."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ratelike._analysis._renewal_response import renewal_response, static_response
from ratelike._analysis._synapse_response import synapse_response
from ratelike._network import Layer
from ratelike._network._feedback import each_feedback
from ratelike._numerics._products import matmul


class LayerResponse(NamedTuple):
    """All that is known of a layer at z; `latents` come in, `loops` are those of all feedback together.

    Spikes s of neurons, of which s_0 would be there without any change of the potential, and what comes in from outside:

        s = own s_0 + gain (E x + E_f y),    y = arriving D_f^T s / N,    loop = arriving D_f^T gain E_f / N.
    """

    own: Complex[Array, " neurons"]
    gain: Complex[Array, " neurons"]
    arriving: Complex[Array, " loops"]
    loop: Complex[Array, "loops loops"]
    synapse: Complex[Array, " latents"]  # of what comes in
    missing: Complex[Array, " neurons"] | None  # 1 - f(z) of the intervals
    activity: Float[Array, " neurons"] | None

    def determinant(self) -> Complex[Array, ""]:
        """The characteristic function of the modes: 1 at infinity, with its poles inside the unit circle.

        Where a neuron does not send to itself, what is taken off again is a loop of its own.
        """
        rows = jnp.eye(len(self.loop), dtype=self.loop.dtype) - self.loop
        return jnp.linalg.det(rows) * jnp.exp(-jnp.sum(jnp.log(self.own)))


def layer_response(
    layer: Layer,
    potential: Float[Array, " neurons"],
    exponent: Complex[Array, ""],
    dt: float,
    is_static: bool = False,
) -> LayerResponse:
    """At z = exp(`exponent`), around constant potentials; `is_static`: of the conventional rate."""
    dtype = exponent.dtype
    missing = activity = None
    if is_static:
        gain = static_response(layer.neuron, potential, dt).astype(dtype)
    else:
        gain, missing, activity = renewal_response(
            layer.neuron, potential, exponent, dt
        )
    gain = gain * _membrane(layer, exponent, dt)
    encoder, decoder = loop_weights(layer)
    arriving, own = _arriving(layer, exponent, dt)
    own = 1.0 / (1.0 + gain * own)
    gain = gain * own
    read = arriving[:, None] * decoder.T.astype(dtype) / layer.num_neurons
    loop = matmul(read, gain[:, None] * encoder.astype(dtype))
    synapse = synapse_response(layer.synapse, layer.num_latents, exponent, dt)
    return LayerResponse(own, gain, arriving, loop, synapse, missing, activity)


def loop_weights(
    layer: Layer,
) -> tuple[Float[Array, "neurons loops"], Float[Array, "neurons loops"]]:
    """Encoders and decoders of all feedback, side by side."""
    each = each_feedback(layer.feedback)
    nothing = layer.bias[:, None][:, :0]
    encoder = jnp.concatenate([nothing, *(one.encoder for one in each)], axis=1)
    return encoder, jnp.concatenate([nothing, *(one.decoder for one in each)], axis=1)


def own_weights(layer: Layer) -> list[Float[Array, "neurons latents"]]:
    """Of each feedback what is taken off again, latent by latent: in sum J_ii."""
    return [
        jnp.zeros_like(one.encoder)
        if one.self_connection
        else one.encoder * one.decoder / layer.num_neurons
        for one in each_feedback(layer.feedback)
    ]


def _membrane(
    layer: Layer, exponent: Complex[Array, ""], dt: float
) -> Complex[Array, "*#neurons"]:
    """From increments of the current to the potential that acts in a step, which is centred: the mean of both ends."""
    leak = jnp.expm1(-dt / layer.neuron.tau_m).astype(exponent.dtype)
    above = jnp.expm1(exponent)
    return (1.0 + 0.5 * above) * (-leak / dt) / (above - leak)


def _arriving(
    layer: Layer, exponent: Complex[Array, ""], dt: float
) -> tuple[Complex[Array, " loops"], Complex[Array, " neurons"]]:
    """Delays and synapses of all feedback, and the loop of each neuron by itself that is taken off."""
    factors = [jnp.zeros(0, exponent.dtype)]
    own = jnp.zeros(layer.num_neurons, exponent.dtype)
    both = zip(each_feedback(layer.feedback), own_weights(layer), strict=True)
    for feedback, weight in both:
        steps = 1 if feedback.delay is None else round(feedback.delay / dt)
        latents = feedback.encoder.shape[1]
        factor = synapse_response(feedback.synapse, latents, exponent, dt)
        factor = factor * jnp.exp(-steps * exponent)
        factors.append(factor)
        own = own + matmul(weight.astype(exponent.dtype), factor)
    return jnp.concatenate(factors), own
