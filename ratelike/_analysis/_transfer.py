"""The linear response of a network to its input."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ratelike import _validation as validation
from ratelike._analysis._fixed_point import (
    FixedPoint,
    check_renewal_layers,
    checked_around,
)
from ratelike._analysis._grid_frequencies import (
    checked_frequencies,
    on_circle,
    over_exponents,
)
from ratelike._analysis._layer_response import (
    LayerResponse,
    layer_response,
    loop_weights,
)
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._conventional import ConventionalRate
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._network import AbstractLayer, Layer, Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._products import matmul
from ratelike._types import Numbers


@broadcasts
def transfer_function(
    network: Network | AbstractLayer,
    frequencies: Numbers,
    *,
    at: FixedPoint,
    dynamics: AbstractDynamics | None = None,
) -> Complex[Array, "frequencies latents_out latents_in"]:
    r"""The complex gain from latents in to latents out, at `frequencies` in hertz, around the stationary state `at`.

    A small signal x + Re(e exp(2 pi i f n dt)) of the input changes that which the last layer hands on by Re(G e exp(2 pi i f n dt)),
    in the limit of small e. G is that of the grid, exactly, for every neuron with its own potential and parameters:

        G = (1/N) sum_j D_j chi_j(z) m_j(z) E_j,     z = exp(2 pi i f dt),

    chi the response of a renewal process to its potential, from the linearised equations of `AgeShift`, and m that of the
    membrane; synapses and delays enter by their factors on the grid, and loops of feedback are closed. With memory, chi
    has resonances near the firing rate and its multiples, which the conventional rate, chi = g', lacks: `dynamics` is
    `GeneralisedRate()` (the default) or `ConventionalRate()`. At f = 0 both agree. `rl.plot.bode` draws it.

        at = rl.analysis.stationary_state(layer, x, dt=1e-3)
        gain = rl.analysis.transfer_function(layer, jnp.linspace(1.0, 200.0, 200), at=at)
        rl.plot.bode(jnp.linspace(1.0, 200.0, 200), {"generalised rate": gain})

    Differentiable by the network, by `at` (a traced `stationary_state`) and by frequencies. *Cost.* Neurons times ages for
    each frequency.

    Gerstner, Neural Comput. 12, 43 (2000); *Neuronal Dynamics*, sections 14.3 and 15.2.

    Raises `ValueError` for frequencies below 0 or above 1 / (2 dt), a state that is none of this network, neurons that
    remember more than their last spike (but for `ConventionalRate`), and other dynamics.
    """
    dynamics = GeneralisedRate() if dynamics is None else dynamics
    is_static = isinstance(dynamics, ConventionalRate)
    if not is_static and not isinstance(dynamics, GeneralisedRate):
        raise ValueError(
            f"dynamics must be GeneralisedRate() or ConventionalRate(), got {validation.shown(dynamics)}"
        )
    network = checked_around(network, at)
    if not is_static:
        check_renewal_layers(network, "the response of a generalised rate")
    dtype = network.layers[0].dtype
    frequencies = checked_frequencies(frequencies, at.dt, dtype)
    return _transfer(network, frequencies, at, is_static)


@eqx.filter_jit
def _transfer(
    network: Network,
    frequencies: Float[Array, " frequencies"],
    at: FixedPoint,
    is_static: bool,
) -> Complex[Array, "frequencies latents_out latents_in"]:
    def gain(exponent: Array) -> Array:
        product = None
        for layer, potential in zip(network.layers, at.potentials, strict=True):
            response = layer_response(layer, potential, exponent, at.dt, is_static)
            own = closed_gain(layer, response)
            product = own if product is None else matmul(own, product)
        assert product is not None
        return product

    neurons = max(layer.num_neurons for layer in network.layers)
    return over_exponents(gain, on_circle(frequencies, at.dt), neurons)


def closed_gain(
    layer: Layer, response: LayerResponse
) -> Complex[Array, "latents_out latents_in"]:
    """From latents in to latents out, with all loops closed."""
    dtype = response.gain.dtype
    encoder, decoder = loop_weights(layer)
    came_in = response.gain[:, None] * layer.encoder.astype(dtype)
    came_in = came_in * response.synapse[None] / layer.num_neurons
    direct = matmul(layer.decoder.T.astype(dtype), came_in)
    if encoder.shape[1] == 0:
        return direct
    sent = response.arriving[:, None] * matmul(decoder.T.astype(dtype), came_in)
    return direct + matmul(from_loops(layer, response), closed(response, sent))


def from_loops(
    layer: Layer, response: LayerResponse
) -> Complex[Array, "latents_out loops"]:
    """From what comes back to latents out."""
    dtype = response.gain.dtype
    came_back = response.gain[:, None] * loop_weights(layer)[0].astype(dtype)
    return matmul(layer.decoder.T.astype(dtype), came_back) / layer.num_neurons


def closed(
    response: LayerResponse, sent: Complex[Array, "loops columns"]
) -> Complex[Array, "loops columns"]:
    """(1 - loop)^-1 times what is sent once."""
    rows = jnp.eye(len(response.loop), dtype=response.loop.dtype) - response.loop
    return jnp.linalg.solve(rows, sent)
