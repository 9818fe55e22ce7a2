"""Fluctuations of a whole network: every layer's own, and what the layers after it make of them."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._age_mesh import AgeMesh
from ratelike._fluctuations._block import Noise, Readout
from ratelike._fluctuations._layer import layer_fluctuations
from ratelike._fluctuations._loop_probes import loop_fluctuations
from ratelike._network import Network
from ratelike._numerics._casting import cast_to
from ratelike._population._sums import Workers, caller
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import membrane_traces


class OutputFluctuations(NamedTuple):
    """Of the output membranes."""

    outputs: Float[Array, "time latents"]  # of the generalised rate network
    # Exact variance, given the last layer's input: of the rate network, or of each probe; none of a layer with feedback, of
    # which the probes have all.
    own: Float[Array, "time latents"] | Float[Array, "time probes latents"]
    passed_on: Float[Array, "time probes latents"] | None  # samples of what is left
    shift: Float[Array, "time latents"] | None = None  # their mean, unless this is zero


def output_fluctuations(
    network: Network,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    key: Array | None,
    num_probes: int,
    age_meshes: Sequence[AgeMesh],
    workers: Workers,
) -> OutputFluctuations:
    """One pass through the layers: the rate, and `num_probes` realisations of linear noise around it.

    Where the last layer has no feedback its own variance is known exactly, and it adds no noise to them: a network of one
    such layer needs no key.
    """
    call = caller(workers)
    network, increments = call(prepared, network, path, grid)
    probes = None
    tau_m, variance = network.output_tau_m, None
    for index, layer in enumerate(network.layers):
        inputs = layer, increments, probes, grid
        noise = readout = None
        if index == network.depth - 1 and layer.feedback is None:
            readout = Readout(tau_m, layer.decoder**2)
        else:
            noise = Noise(jax.random.fold_in(cast(Array, key), index), num_probes)
        own_mesh = age_meshes[index]
        if noise is not None and layer.feedback is not None:
            of_layer = call(loop_fluctuations, *inputs, noise, own_mesh)
        else:
            of_layer = layer_fluctuations(
                *inputs,
                noise=noise,
                readout=readout,
                age_mesh=own_mesh,
                workers=workers,
            )
        increments, probes, variance = of_layer
    return call(_outputs, increments, probes, variance, tau_m, grid)


def prepared(
    network: Network, path: diffrax.AbstractPath, grid: TimeGrid
) -> tuple[Network, Float[Array, "time latents"]]:
    """All connections, in one type of number, and the input."""
    network = network.stored()
    dtype = network.layers[0].dtype
    return cast_to(network, dtype), grid_increments(path, grid, dtype)


def _outputs(
    increments: Float[Array, "time latents"],
    probes: Float[Array, "time probes latents"] | None,
    variance: Float[Array, "time latents"] | None,
    tau_m: Float[Array, ""],
    grid: TimeGrid,
) -> OutputFluctuations:
    return OutputFluctuations(
        outputs=membrane_traces(increments, tau_m, grid.dt),
        own=jnp.zeros_like(increments) if variance is None else variance,
        passed_on=None if probes is None else _traces_of_probes(probes, tau_m, grid),
    )


def _traces_of_probes(
    probes: Float[Array, "time probes latents"],
    tau_m: Float[Array, ""],
    grid: TimeGrid,
) -> Float[Array, "time probes latents"]:
    side_by_side = probes.reshape(len(probes), -1)
    return membrane_traces(side_by_side, tau_m, grid.dt).reshape(probes.shape)
