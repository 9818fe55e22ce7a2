"""Fluctuations of a whole network: every layer's own, and what the layers after it make of them."""

from typing import NamedTuple, cast

import diffrax
import jax
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._fluctuations._layer import Noise, Readout, layer_fluctuations
from ratelike._network import AbstractLayer, Network, check_population
from ratelike._neuron import check_renewal
from ratelike._numerics._casting import cast_to
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import membrane_traces


def check_fluctuations(network: Network) -> None:
    """The theory holds for every layer."""
    for index, layer in enumerate(network.layers):
        check_layer_fluctuations(f"network.layers[{index}]", layer)


def check_layer_fluctuations(name: str, layer: AbstractLayer) -> None:
    """Its neurons spike, remember nothing but their last spike, and are independent given the layer's input."""
    what = "the variance of its spikes"
    check_population(name, layer, what)
    check_renewal(f"{name}.neuron", layer.neuron, what)
    if layer.feedback is not None:
        raise ValueError(
            f"{name} must have no feedback, because fluctuations are known for neurons that are independent given "
            f"their input; got {validation.shown(layer.feedback)}"
        )


class OutputFluctuations(NamedTuple):
    """Of the output membranes."""

    outputs: Float[Array, "time latents"]  # of the generalised rate network
    own: Float[Array, "time latents"]  # exact variance, given the last layer's input
    passed_on: Float[Array, "time probes latents"] | None  # samples of what is left


def output_fluctuations(
    network: Network,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    key: Array,
    num_probes: int,
) -> OutputFluctuations:
    """One pass through the layers: the rate, and `num_probes` realisations of linear noise around it.

    The last layer, whose own variance is known exactly, adds no noise to them.
    """
    network = network.stored()
    dtype = network.layers[0].dtype
    network = cast_to(network, dtype)
    increments, probes = grid_increments(path, grid, dtype), None
    for index, layer in enumerate(network.layers[:-1]):
        noise = Noise(jax.random.fold_in(key, index), num_probes)
        increments, probes, _ = layer_fluctuations(
            layer, increments, probes, grid, noise=noise, readout=None
        )
    layer, tau_m = network.layers[-1], network.output_tau_m
    readout = Readout(tau_m, layer.decoder**2)
    increments, probes, variance = layer_fluctuations(
        layer, increments, probes, grid, noise=None, readout=readout
    )
    return OutputFluctuations(
        outputs=membrane_traces(increments, tau_m, grid.dt),
        own=cast(Array, variance),
        passed_on=None if probes is None else membrane_traces(probes, tau_m, grid.dt),
    )
