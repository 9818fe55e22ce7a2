"""Variance and covariance of what a layer's output units read, exactly and without a spike."""

from typing import cast

import diffrax
import jax
from jaxtyping import Array, ArrayLike, Float

from ratelike import _validation as validation
from ratelike._density._age_mesh import AgeMesh
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._fluctuations._block import Readout
from ratelike._fluctuations._default_mesh import age_mesh_of
from ratelike._fluctuations._inputs import check_layer_fluctuations
from ratelike._fluctuations._layer import layer_fluctuations
from ratelike._fluctuations._network import prepared
from ratelike._inputs import checked_inputs
from ratelike._network import Layer, Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._casting import cast_to
from ratelike._population._all_cores import workers_for
from ratelike._population._sums import Workers, caller, run_with
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid


@broadcasts
def readout_variance(
    layer: Layer,
    increments: Input,
    grid: TimeGrid,
    *,
    tau_m: ArrayLike | None = None,
    age_mesh: AgeMesh | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Float[Array, "time latents"]:
    r"""Var of the output membranes y = kappa * dX of `layer` with spiking neurons, given its input; latents squared.

    Given their input neurons are independent, so Var y_k = (1/N^2) sum_j D_jk^2 Var_j, with Var_j the variance of neuron
    j's own filtered spike train. It follows from its covariance with the age of the neuron, which moves with the
    refractory density: no spike is sampled. Index n is after the spikes of step n, as in `trajectory.outputs`.

    `age_mesh` is an `AgeMesh`. `AgeMesh.uniform()`: ages are exact, and there is no error but that of rounding, at any dt.
    By default bins are half as wide as their age, a fifth of the memory at most: the variance was right to 10^-3 with
    every neuron tried (`benchmarks/README.md`), at a fifth of the price. Where the hazard changes in less than half of an
    age, or where more digits are wanted, take exact ages or a finer `AgeMesh.graded`. Neurons with marks (`LIF`), and such
    of which a mesh would save nothing, have exact ages in any case.

    `increments` as in `simulate`; `tau_m` is the membrane time constant of the output units in seconds, by default
    the mean of the neurons'; `mesh` as in `expected_error`. Differentiable in reverse mode, and with exact ages in forward mode as well; reverse
    mode keeps about sqrt(steps) densities of all neurons, or of 512 where there are more than 8000.

    Raises `ValueError` as `simulate` does, unless `tau_m` > 0, and for a layer with feedback, whose neurons depend on each
    other: `expected_error` and `expected_spiking_loss` estimate what comes of that.
    """
    network, path = _checked_layer(layer, increments, grid, tau_m, mesh)
    ages = age_mesh_of(age_mesh, layer.neuron, grid.dt)
    workers = workers_for(mesh, (network, path, grid))
    return run_with(workers, _variance, network, path, grid, ages)


@broadcasts
def readout_covariance(
    layer: Layer,
    increments: Input,
    grid: TimeGrid,
    *,
    tau_m: ArrayLike | None = None,
    age_mesh: AgeMesh | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Float[Array, "time latents latents"]:
    r"""Cov(y_k, y_l) = (1/N^2) sum_j D_jk D_jl Var_j: as `readout_variance`, which is its diagonal."""
    network, path = _checked_layer(layer, increments, grid, tau_m, mesh)
    ages = age_mesh_of(age_mesh, layer.neuron, grid.dt)
    workers = workers_for(mesh, (network, path, grid))
    return run_with(workers, _covariance, network, path, grid, ages)


def _variance(
    network: Network,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    age_mesh: AgeMesh,
    workers: Workers,
) -> Float[Array, "time latents"]:
    decoder = network.layers[0].decoder
    return _sum_over_neurons(network, path, grid, decoder**2, age_mesh, workers)


def _covariance(
    network: Network,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    age_mesh: AgeMesh,
    workers: Workers,
) -> Float[Array, "time latents latents"]:
    decoder = network.layers[0].decoder
    latents = decoder.shape[-1]
    products = decoder[:, :, None] * decoder[:, None, :]
    products = products.reshape(-1, latents**2)
    columns = _sum_over_neurons(network, path, grid, products, age_mesh, workers)
    return columns.reshape(-1, latents, latents)


def _sum_over_neurons(
    network: Network,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    decoder_products: Float[Array, "neurons columns"],
    age_mesh: AgeMesh,
    workers: Workers,
) -> Float[Array, "time columns"]:
    """(1/N^2) sum_j D_jk D_jl Var_j."""
    network, increments = caller(workers)(prepared, network, path, grid)
    decoder_products = cast_to(decoder_products, increments.dtype)
    fluctuations = layer_fluctuations(
        network.layers[0],
        increments,
        None,
        grid,
        noise=None,
        readout=Readout(network.output_tau_m, decoder_products),
        age_mesh=age_mesh,
        workers=workers,
    )
    return cast(Array, fluctuations.variance)


def _checked_layer(
    layer: Layer,
    increments: Input,
    grid: TimeGrid,
    tau_m: ArrayLike | None,
    mesh: jax.sharding.Mesh | None,
) -> tuple[Network, diffrax.AbstractPath]:
    """A network of the layer alone, whose output membranes have the time constant `tau_m`, and its input."""
    validation.instance("layer", layer, Layer)
    check_layer_fluctuations("layer", layer)
    if layer.feedback is not None:
        raise ValueError(
            "layer must have no feedback, because the variance is exact for neurons that are independent given their "
            "input; expected_error and expected_spiking_loss estimate fluctuations through feedback, got "
            f"{validation.shown(layer.feedback)}"
        )
    if tau_m is not None:
        tau_m = validation.parameter("tau_m", tau_m, above=0.0)
        validation.shape("tau_m", tau_m, ())
    if mesh is not None:
        validation.instance("mesh", mesh, jax.sharding.Mesh)
    network = Network([layer], tau_m)
    return network, checked_inputs(network, increments, grid, GeneralisedRate()).path
