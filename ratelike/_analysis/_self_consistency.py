r"""The equations of a stationary state, in the latents of all feedback of a network.

With y the signals that come back to the neurons of a layer, and x those that come in, per second,

    h_i = b_i + E_i x + E_f,i y - J_ii g_i(h_i),     y = (1/N) sum_j D_f,j g_j(h_j),

where J_ii is what a neuron would send to itself, unless it does. Synapses have area one, and delays do not matter.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jaxtyping import Array, Float

from ratelike._analysis._layer_response import loop_weights, own_weights
from ratelike._network import Layer, Network
from ratelike._network._feedback import each_feedback
from ratelike._neuron import _renewal as renewal
from ratelike._numerics._products import matmul

# Of the potential of each neuron that does not send to itself; its own share is of the order of 1/N.
STEPS_OF_A_NEURON = 50


class Settled(NamedTuple):
    """What follows from the latents of feedback, layer by layer."""

    potentials: tuple[Float[Array, " _"], ...]
    rates: tuple[Float[Array, " _"], ...]  # Hz
    signals: tuple[Float[Array, " _"], ...]  # that each layer hands on
    returned: Float[Array, " loops"]  # what comes back
    apart: Float[
        Array, ""
    ]  # largest residual of a neuron by itself, in parts of 1 + |h|


def loop_sizes(network: Network) -> tuple[int, ...]:
    """The number of latents of all feedback of each layer."""
    return tuple(
        sum(one.encoder.shape[1] for one in each_feedback(layer.feedback))
        for layer in network.layers
    )


def settled(
    network: Network,
    signal: Float[Array, " latents"],
    feedback: Float[Array, " loops"],
    dt: float,
) -> Settled:
    """The state with `feedback` coming back: stationary, where that is also `returned`."""
    potentials, rates, signals, returned = [], [], [], []
    begin, apart = 0, jnp.zeros_like(signal, shape=())
    for layer, size in zip(network.layers, loop_sizes(network), strict=True):
        encoder, decoder = loop_weights(layer)
        driven = layer.bias + matmul(layer.encoder, signal)
        driven = driven + matmul(encoder, feedback[begin : begin + size])
        begin += size
        potential = _potential(layer, driven, dt)
        rate = _rate(layer, potential, dt)
        missing = jnp.abs(potential + _own(layer) * rate - driven)
        apart = jnp.maximum(apart, jnp.max(missing / (1.0 + jnp.abs(potential))))
        signal = matmul(rate, layer.decoder) / layer.num_neurons
        potentials.append(potential)
        rates.append(rate)
        signals.append(signal)
        returned.append(matmul(rate, decoder) / layer.num_neurons)
    together = jnp.concatenate(returned)
    return Settled(tuple(potentials), tuple(rates), tuple(signals), together, apart)


def _rate(
    layer: Layer, potential: Float[Array, " neurons"], dt: float
) -> Float[Array, " neurons"]:
    rate = renewal.stationary_rate(layer.neuron, potential, dt)
    return jnp.broadcast_to(rate, potential.shape)


def _potential(
    layer: Layer, driven: Float[Array, " neurons"], dt: float
) -> Float[Array, " neurons"]:
    """h, from all that would come if each neuron sent to itself: h + J_ii g(h) = driven, neuron by neuron."""
    if all(one.self_connection for one in each_feedback(layer.feedback)):
        return driven
    own = _own(layer)
    given = jax.lax.stop_gradient((layer, own, driven))
    # Whatever g is, from 0 to one spike in each step, the solution is between these.
    most = jnp.abs(given[1]) / dt
    bounds = {
        "lower": jnp.where(given[1] > 0.0, given[2] - most, given[2]),
        "upper": jnp.where(given[1] < 0.0, given[2] + most, given[2]),
    }
    tolerance = 10.0 * float(jnp.finfo(driven.dtype).eps)
    solution = optx.root_find(
        lambda potential, args: _excess(args[0], args[1], args[2], potential, dt),
        optx.Newton(rtol=tolerance, atol=tolerance, linear_solver=lx.Diagonal()),
        given[2],
        given,
        bounds,
        max_steps=STEPS_OF_A_NEURON,
        throw=False,
        tags=frozenset({lx.diagonal_tag}),
    )
    # One more step, through which alone there is a derivative: that of the implicit function.
    found = jax.lax.stop_gradient(solution.value)
    _, slope = jax.jvp(
        lambda potential: _excess(*given, potential, dt),
        (found,),
        (jnp.ones_like(found),),
    )
    slope = jax.lax.stop_gradient(slope)
    return found - _excess(layer, own, driven, found, dt) / slope


def _excess(
    layer: Layer,
    own: Float[Array, " neurons"],
    driven: Float[Array, " neurons"],
    potential: Float[Array, " neurons"],
    dt: float,
) -> Float[Array, " neurons"]:
    """h + J_ii g(h) - driven."""
    return potential + own * _rate(layer, potential, dt) - driven


def _own(layer: Layer) -> Float[Array, " neurons"]:
    """J_ii of neurons that do not send to themselves, by all feedback."""
    each = (jnp.sum(weight, axis=1) for weight in own_weights(layer))
    return sum(each, jnp.zeros_like(layer.bias))
