"""Fano factors of single neurons around a stationary state."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._analysis._fixed_point import (
    FixedPoint,
    check_renewal_layers,
    checked_around,
)
from ratelike._analysis._grid_frequencies import midpoints
from ratelike._analysis._neuron_spectra import checked_layer, layer_spectra
from ratelike._network import AbstractLayer, Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._products import matmul
from ratelike._types import Numbers


@broadcasts
def fano_factor(
    network: Network | AbstractLayer,
    windows: Numbers,
    *,
    at: FixedPoint,
    layer: int = 0,
    num_frequencies: int = 1024,
) -> Float[Array, "windows neurons"]:
    r"""Variance over mean of the spike counts of all neurons of a layer, in `windows` of time (seconds, multiples of dt).

    With S_i the spectrum of neuron i (`neuron_spectra`) and n steps in a window,

        F_i = int S_i(f) (dt sin(pi f n dt) / sin(pi f dt))^2 df / (n dt g_i),

    1 for Poisson processes; as windows grow it goes to the squared coefficient of variation of the intervals. The integral
    is that of the midpoint rule at `num_frequencies` frequencies from 0 to 1/(2 dt), which is exact but for correlations beyond
    2 num_frequencies - n steps. Neglected are terms of order 1/N.

        at = rl.analysis.stationary_state(network, x, dt=1e-3)
        rl.analysis.fano_factor(network, [10e-3, 100e-3], at=at)

    Cox and Lewis, The Statistical Analysis of Series of Events (1966), sections 4.2 and 4.6; *Neuronal Dynamics*,
    section 7.3.

    Raises `ValueError` as `neuron_spectra` does, for windows that are no multiples of dt, and unless there are at least as
    many frequencies as steps in a window.
    """
    network = checked_around(network, at)
    check_renewal_layers(network, "a Fano factor")
    index = checked_layer(network, layer)
    given = np.asarray(validation.parameter("windows", windows, above=0.0), float)
    validation.shape("windows", given, ("windows",))
    steps = np.rint(given / at.dt)
    if np.any(steps < 1) or np.any(np.abs(given / at.dt - steps) > 1e-3):
        raise ValueError(
            f"windows must be multiples of dt = {at.dt:g} s, got {validation.shown(given)}"
        )
    num_frequencies = validation.count("num_frequencies", num_frequencies)
    if np.any(steps > num_frequencies):
        raise ValueError(
            f"num_frequencies must be at least the {int(steps.max())} steps of a window, got {num_frequencies}"
        )
    dtype = network.layers[0].dtype
    frequencies = midpoints(num_frequencies, at.dt, dtype)
    power = layer_spectra(
        network.layers[index], at.potentials[index], frequencies, at.dt
    )
    half = 0.5 * np.pi * (np.arange(num_frequencies) + 0.5) / num_frequencies
    window = (np.sin(steps[:, None] * half) / np.sin(half)) ** 2
    # Of the variance in counts: dt^2 over the width of a part, on both sides.
    weights = window * (at.dt / num_frequencies)
    mean = jnp.asarray(steps * at.dt, dtype)[:, None] * at.rates[index]
    return matmul(jnp.asarray(weights, dtype), power) / mean
