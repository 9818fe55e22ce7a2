"""The relay network of infinitely many neurons."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._network import Layer, Network
from ratelike._network._mean_slope import check_slope, mean_slope
from ratelike._network._nodes import AbstractNodes
from ratelike._network._relay import scaled
from ratelike._network._synaptic_gain import synaptic_gains
from ratelike._neuron import AbstractNeuronModel, check_neuron
from ratelike._numerics._broadcasting import broadcasts
from ratelike._signal._synapse import SynapseLike, as_synapse
from ratelike._types import Numbers

Parameters = Float[Array, "nodes parameters"]


@broadcasts
def infinite_relay_network(
    neuron: AbstractNeuronModel | Callable[[Parameters], AbstractNeuronModel],
    *,
    num_latents: int,
    depth: int,
    nodes: AbstractNodes,
    gain: float = 1.0,
    bias: Numbers | Callable[[Parameters], Numbers] = 1.0,
    num_parameters: int = 0,
    synapse: SynapseLike | None = None,
) -> Network:
    r"""What `relay_network` becomes for N -> infinity: the mean over neurons is the expectation over their encoders,

        dX_{l+1}/dt = E[D(E) r(E, X_l)],    E ~ Normal(0, gain^2 / p),    D = E p / (gain^2 E[g'(b + gain xi)]),

    with r the expected activity of a neuron of encoder E given its input. It depends on no connectivity, and splits the
    error of a spiking network in two: against the rate network of its own connectivity it is the noise of spikes, and
    from there to the infinite network the sampling of neurons. Both fall as 1/sqrt(N).

    The expectation is taken at `nodes`: `GaussHermite(n)` for few latents, else `QuasiMonteCarlo(num_points, key=...)`.
    The result is a network with a neuron at each node and the weights of the nodes in its decoders, for
    `GeneralisedRate` and `ConventionalRate`; nodes do not spike (`ValueError`). Memory and time are those of so many
    neurons.

    *Diverse neurons.* With `num_parameters` > 0 the expectation is also over so many standard normal numbers:
    `neuron` and `bias` may be functions of them, an array (nodes, parameters), that return parameters with one value
    for each node. For instance `bias=lambda z: 1.0 + 0.3 * z[:, 0]`.

    `synapse` is as in `relay_network`.

    Raises `ValueError` as `relay_network` and the nodes do, and for functions beside `num_parameters` = 0.
    """
    num_latents = validation.count("num_latents", num_latents)
    depth = validation.count("depth", depth)
    num_parameters = validation.count("num_parameters", num_parameters, at_least=0)
    validation.instance("nodes", nodes, AbstractNodes)
    spread = validation.parameter("gain", gain, above=0.0)
    validation.shape("gain", spread, ())
    filters = as_synapse("synapse", synapse, num_latents)
    # Of neurons alike, the same in all layers.
    alike = None
    if isinstance(neuron, AbstractNeuronModel) and not callable(bias):
        own_bias = validation.parameter("bias", bias)
        if own_bias.ndim != 0:
            validation.shape("bias", own_bias, ("nodes",))
        alike = mean_slope(neuron, own_bias, spread)
    elif num_parameters == 0:
        raise ValueError(
            "num_parameters must be at least 1 where neuron or bias is a function of them, got 0"
        )

    def layer(index: int) -> Layer:
        points, weights = nodes(num_latents, num_parameters, index)
        directions = jnp.asarray(points[:, :num_latents], dtype=spread.dtype)
        parameters = jnp.asarray(points[:, num_latents:], dtype=spread.dtype)
        own = neuron if isinstance(neuron, AbstractNeuronModel) else neuron(parameters)
        validation.instance("neuron", own, AbstractNeuronModel)
        check_neuron("neuron", own, len(weights))
        own_bias = validation.parameter(
            "bias", bias(parameters) if callable(bias) else bias
        )
        if own_bias.ndim != 0:
            validation.shape("bias", own_bias, (len(weights),))
        slopes = mean_slope(own, own_bias, spread) if alike is None else alike
        shares = jnp.asarray(weights, dtype=slopes.dtype)
        slope = jnp.sum(shares * jnp.broadcast_to(slopes, shares.shape))
        check_slope(slope, own_bias, spread)
        gain = synaptic_gains(filters, own.tau_m, depth)[index]
        # Layers take means over neurons: a node of weight w counts for w times their number.
        counts = shares[:, None] * len(weights)
        return Layer(
            own,
            scaled(directions * (spread / np.sqrt(num_latents)), gain),
            counts * directions * (np.sqrt(num_latents) / (spread * slope)),
            own_bias,
            synapse=filters,
            node_weights=shares,
        )

    return Network([layer(index) for index in range(depth)])
