"""Fluctuations of a network of finitely many neurons around a stationary state."""

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
from ratelike._analysis._neuron_spectra import renewal_power
from ratelike._analysis._stability import stability
from ratelike._analysis._transfer import closed, closed_gain, from_loops
from ratelike._network import AbstractLayer, Layer, Network, check_population
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._products import matmul
from ratelike._signal._membrane import leak_of
from ratelike._types import Numbers


class Spectrum(eqx.Module):
    """Two-sided densities: their integral from -1 / (2 dt) to 1 / (2 dt) is the (co)variance. Entry k, l of a cross spectrum
    is the mean of x_k(f) times the conjugate of x_l(f)."""

    frequencies: Float[Array, " frequencies"]  # Hz
    signals: tuple[Complex[Array, "frequencies _ _"], ...]  # that each layer hands on
    outputs: Complex[Array, "frequencies latents latents"]  # of `trajectory.outputs`
    rates: tuple[Float[Array, " frequencies"], ...]  # of the mean of each layer, Hz


@broadcasts
def spectrum(
    network: Network | AbstractLayer, frequencies: Numbers, *, at: FixedPoint
) -> Spectrum:
    r"""Power and cross spectra of a spiking network under constant input, from linear noise: exact as N grows, of order 1/N.

    Each neuron i fires like a renewal process at its stationary potential, of spectrum (f the generating function of its
    intervals, g its rate)

        S_i = g_i (1 - |f_i|^2) / |1 - f_i|^2,

    and its fluctuations go through the loops of its layer and on through the next ones, a sum over independent sources:
    (1/N^2) sum_i a_i S_i a_i^*, with a_i the closed gain from a spike of neuron i. `signals` are the spectra of dY/dt,
    `rates` those of the mean rate in hertz, and `outputs` those of the output membranes.

        at = rl.analysis.stationary_state(network, x, dt=1e-3)
        power = rl.analysis.spectrum(network, jnp.linspace(1.0, 250.0, 250), at=at)
        2.0 * power.rates[0]  # one-sided, as scipy.signal.welch has it

    Neglected are terms of order 1/N^2, which grow where a mode hardly decays.

    Cox and Lewis, The Statistical Analysis of Series of Events (1966), for S_i; *Neuronal Dynamics*, section 7.5.

    Raises `ValueError` for frequencies that are not above 0 and at most 1 / (2 dt), a state that is none of this network,
    or unstable, infinite populations, and neurons that remember more than their last spike.
    """
    network = checked_around(network, at)
    check_renewal_layers(network, "a spectrum")
    for index, layer in enumerate(network.layers):
        check_population(f"network.layers[{index}]", layer, "a spectrum")
    dtype = network.layers[0].dtype
    frequencies = checked_frequencies(frequencies, at.dt, dtype, above_zero=True)
    has_feedback = any(layer.feedback is not None for layer in network.layers)
    if has_feedback and validation.is_concrete((network, at)):
        modes = stability(network, at=at)
        if not modes.is_stable:
            raise ValueError(
                f"at must be stable for a spectrum, got a state with {modes.num_growing} growing modes"
            )
    return _spectrum(network, frequencies, at)


@eqx.filter_jit
def _spectrum(
    network: Network, frequencies: Float[Array, " frequencies"], at: FixedPoint
) -> Spectrum:
    leak = leak_of(network.output_tau_m, at.dt)

    def one(exponent: Array) -> tuple[list[Array], list[Array], Array]:
        came_in, signals, rates = None, [], []
        for layer, potential in zip(network.layers, at.potentials, strict=True):
            # Mean activity is a latent of its own, decoded by 1 and heard by nobody.
            ones = jnp.ones_like(layer.decoder[:, :1])
            both = eqx.tree_at(
                lambda one: one.decoder,
                layer,
                jnp.concatenate([layer.decoder, ones], axis=1),
            )
            response = layer_response(both, potential, exponent, at.dt)
            power = _own(both, response) / at.dt
            if came_in is not None:
                gain = closed_gain(both, response)
                power = power + matmul(matmul(gain, came_in), jnp.conj(gain.T))
            came_in = power[:-1, :-1]
            signals.append(came_in)
            rates.append(power[-1, -1].real)
        decay, scale = (x.astype(exponent.dtype) for x in leak)
        membrane = scale * at.dt / (1.0 - decay * jnp.exp(-exponent))
        assert came_in is not None
        return signals, rates, came_in * jnp.abs(membrane).astype(exponent.dtype) ** 2

    neurons = max(layer.num_neurons for layer in network.layers)
    exponents = on_circle(frequencies, at.dt)
    signals, rates, outputs = over_exponents(one, exponents, neurons)
    return Spectrum(frequencies, tuple(signals), outputs, tuple(rates))


def _own(
    layer: Layer, response: LayerResponse
) -> Complex[Array, "latents_out latents_out"]:
    """Of the spikes of the layer itself, per step."""
    assert response.missing is not None
    assert response.activity is not None
    dtype = response.gain.dtype
    power = renewal_power(response.missing, response.activity)
    path = layer.decoder.T.astype(dtype)
    decoder = loop_weights(layer)[1].T.astype(dtype)
    if len(decoder) > 0:
        sent = response.arriving[:, None] * decoder
        path = path + matmul(from_loops(layer, response), closed(response, sent))
    path = path * response.own[None] / layer.num_neurons
    return matmul(path * power.astype(dtype)[None], jnp.conj(path.T))
