"""Power spectra of single neurons around a stationary state."""

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
from ratelike._analysis._renewal_response import renewal_response
from ratelike._network import AbstractLayer, Layer, Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._types import Numbers


@broadcasts
def neuron_spectra(
    network: Network | AbstractLayer,
    frequencies: Numbers,
    *,
    at: FixedPoint,
    layer: int = 0,
) -> Float[Array, "frequencies neurons"]:
    r"""Power spectra of the spike trains of all neurons of a layer, in hertz, around the stationary state `at`.

    Two-sided, as `spectrum` has them: with f the generating function of the intervals of neuron i, and g its rate,

        S_i = g_i (1 - |f_i|^2) / |1 - f_i|^2,

    of a renewal process at its stationary potential. At high frequencies it is g, and towards 0 it is g times the squared
    coefficient of variation. Exact on the grid as the network grows; neglected is what other neurons' fluctuations
    add, of order 1/N.

        at = rl.analysis.stationary_state(network, x, dt=1e-3)
        power = rl.analysis.neuron_spectra(network, jnp.linspace(1.0, 250.0, 250), at=at)
        power / at.rates[0]  # 1 for Poisson processes

    Cox and Lewis, The Statistical Analysis of Series of Events (1966), section 4.5; *Neuronal Dynamics*, section 7.5.

    Raises `ValueError` for frequencies that are not above 0 and at most 1 / (2 dt), a layer or a state that is none of this
    network, and neurons that remember more than their last spike.
    """
    network = checked_around(network, at)
    check_renewal_layers(network, "a spectrum")
    index = checked_layer(network, layer)
    frequencies = checked_frequencies(
        frequencies, at.dt, network.layers[0].dtype, above_zero=True
    )
    return layer_spectra(
        network.layers[index], at.potentials[index], frequencies, at.dt
    )


def checked_layer(network: Network, layer: int) -> int:
    index = validation.count("layer", layer, at_least=0)
    if index >= len(network.layers):
        raise ValueError(
            f"layer must be one of the {len(network.layers)} of the network, got {index}"
        )
    return index


@eqx.filter_jit
def layer_spectra(
    layer: Layer,
    potential: Float[Array, " neurons"],
    frequencies: Float[Array, " frequencies"],
    dt: float,
) -> Float[Array, "frequencies neurons"]:
    def one(exponent: Complex[Array, ""]) -> Float[Array, " neurons"]:
        response = renewal_response(layer.neuron, potential, exponent, dt)
        return renewal_power(response.missing, response.activity) / dt

    return over_exponents(one, on_circle(frequencies, dt), layer.num_neurons)


def renewal_power(
    missing: Complex[Array, " neurons"], activity: Float[Array, " neurons"]
) -> Float[Array, " neurons"]:
    """Per step: 1 - |f|^2 over |1 - f|^2 times the activity, without cancellation."""
    size = jnp.real(missing) ** 2 + jnp.imag(missing) ** 2
    return activity * (2.0 * jnp.real(missing) / size - 1.0)
