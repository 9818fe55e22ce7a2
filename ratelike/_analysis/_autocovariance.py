"""Covariances over time of a network of finitely many neurons, from its spectra."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from ratelike import _validation as validation
from ratelike._analysis._fixed_point import FixedPoint, checked
from ratelike._analysis._grid_frequencies import midpoints
from ratelike._analysis._spectrum import spectrum
from ratelike._network import AbstractLayer, Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._products import matmul


class Autocovariance(eqx.Module):
    """Entry k, l is the covariance of x_k at time t + lag and x_l at time t."""

    lags: Float[Array, " lags"]  # s
    signals: tuple[Float[Array, "lags _ _"], ...]  # that each layer hands on
    outputs: Float[Array, "lags latents latents"]  # of `trajectory.outputs`
    rates: tuple[Float[Array, " lags"], ...]  # of the mean of each layer, Hz^2


@broadcasts
def autocovariance(
    network: Network | AbstractLayer,
    num_lags: int,
    *,
    at: FixedPoint,
    num_frequencies: int = 1024,
) -> Autocovariance:
    r"""Covariances of a spiking network under constant input, at lags 0, dt, ..., (num_lags - 1) dt.

    The transform of `spectrum` S, with what that neglects,

        C(k dt) = int S(f) exp(2 pi i f k dt) df     from -1/(2 dt) to 1/(2 dt),

    by the midpoint rule at `num_frequencies` frequencies from 0 to 1/(2 dt). That is exact but for the covariance at lags
    beyond 2 num_frequencies - num_lags steps: more frequencies are needed where modes hardly decay.

        at = rl.analysis.stationary_state(network, x, dt=1e-3)
        covariance = rl.analysis.autocovariance(network, 100, at=at)
        jnp.sqrt(jnp.diagonal(covariance.outputs[0]))  # standard deviations of the outputs

    Cox and Lewis, The Statistical Analysis of Series of Events (1966), chapter 4 (Wiener-Khinchin).

    Raises `ValueError` as `spectrum` does, and unless there are at least as many frequencies as lags.
    """
    num_lags = validation.count("num_lags", num_lags)
    num_frequencies = validation.count("num_frequencies", num_frequencies)
    if num_frequencies < num_lags:
        raise ValueError(
            f"num_frequencies must be at least num_lags = {num_lags}, got {num_frequencies}"
        )
    validation.instance("at", at, FixedPoint)
    dtype = checked(network, at.dt)[0].layers[0].dtype
    frequencies = midpoints(num_frequencies, at.dt, dtype)
    power = spectrum(network, frequencies, at=at)
    lags = np.arange(num_lags)
    # Those of negative frequencies are conjugates.
    angles = np.outer(lags, np.arange(num_frequencies) + 0.5) * np.pi / num_frequencies
    turned = jnp.asarray(np.exp(1j * angles), power.outputs.dtype)

    def transformed(density: Inexact[Array, "frequencies ..."]) -> Array:
        columns = density.reshape(num_frequencies, -1).astype(turned.dtype)
        sums = jnp.real(matmul(turned, columns)) / (num_frequencies * at.dt)
        return sums.reshape(num_lags, *density.shape[1:])

    signals, outputs, rates = jax.tree.map(
        transformed, (power.signals, power.outputs, power.rates)
    )
    return Autocovariance(jnp.asarray(lags * at.dt, dtype), signals, outputs, rates)
