"""Variance and covariance of what a layer's output units read, exactly and without a spike."""

from typing import cast

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from ratelike import _validation as validation
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._fluctuations._layer import Readout, layer_fluctuations
from ratelike._fluctuations._network import check_layer_fluctuations
from ratelike._inputs import checked_inputs
from ratelike._network import Layer, Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._casting import cast_to
from ratelike._signal._drive import Input, grid_increments
from ratelike._signal._grid import TimeGrid


@broadcasts
def readout_variance(
    layer: Layer,
    increments: Input,
    grid: TimeGrid,
    *,
    tau_m: ArrayLike | None = None,
) -> Float[Array, "time latents"]:
    r"""Var of the output membranes y = kappa * dX of `layer` with spiking neurons, given its input; latents squared.

    Given their input neurons are independent, so Var y_k = (1/N^2) sum_j D_jk^2 Var_j, with Var_j the variance of neuron
    j's own filtered spike train. It follows from its covariance with the age of the neuron, which moves with the
    refractory density: no spike is sampled, and there is no error but that of rounding, at any dt. Index n is after the
    spikes of step n, as in `trajectory.outputs`.

    `increments` as in `simulate`; `tau_m` is the membrane time constant of the output units in seconds, by default
    the mean of the neurons'. Takes about twice the time of a rate solve. Differentiable in reverse and forward mode;
    reverse mode keeps about sqrt(steps) densities of 256 neurons.

    Raises `ValueError` as `simulate` does, for a layer with feedback, and unless `tau_m` > 0.
    """
    network, path = _checked_layer(layer, increments, grid, tau_m)
    return _variance(network, path, grid)


@broadcasts
def readout_covariance(
    layer: Layer,
    increments: Input,
    grid: TimeGrid,
    *,
    tau_m: ArrayLike | None = None,
) -> Float[Array, "time latents latents"]:
    r"""Cov(y_k, y_l) = (1/N^2) sum_j D_jk D_jl Var_j: as `readout_variance`, which is its diagonal."""
    network, path = _checked_layer(layer, increments, grid, tau_m)
    return _covariance(network, path, grid)


@eqx.filter_jit
def _variance(network, path, grid):
    decoder = network.layers[0].decoder
    return _weighted(network, path, grid, decoder**2)


@eqx.filter_jit
def _covariance(network, path, grid):
    decoder = network.layers[0].decoder
    latents = decoder.shape[-1]
    products = decoder[:, :, None] * decoder[:, None, :]
    columns = _weighted(network, path, grid, products.reshape(-1, latents**2))
    return columns.reshape(-1, latents, latents)


def _weighted(network, path, grid, weights):
    layer = network.layers[0]
    dtype = layer.encoder.dtype
    network, weights = cast_to((network, weights), dtype)
    layer = network.layers[0]
    fluctuations = layer_fluctuations(
        layer,
        grid_increments(path, grid, dtype),
        None,
        grid,
        noise=None,
        readout=Readout(network.output_tau_m, weights),
    )
    return cast(Array, fluctuations.variance)


def _checked_layer(layer, increments, grid, tau_m):
    validation.instance("layer", layer, Layer)
    check_layer_fluctuations("layer", layer)
    if tau_m is not None:
        tau_m = validation.parameter("tau_m", tau_m, above=0.0)
        validation.shape("tau_m", tau_m, ())
    network = Network([layer], tau_m)
    path = checked_inputs(network, increments, grid, GeneralisedRate()).path
    return network, path
