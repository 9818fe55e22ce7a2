"""Fluctuations of a whole network whose layers answer them as they are: each probe is a run of its own."""

import functools
from collections.abc import Sequence
from typing import cast

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike._density._age_mesh import AgeMesh
from ratelike._fluctuations._block import Noise, Readout
from ratelike._fluctuations._layer import layer_fluctuations
from ratelike._fluctuations._network import OutputFluctuations, output_fluctuations
from ratelike._network import Layer, Network
from ratelike._numerics._casting import cast_to
from ratelike._population._sums import Workers
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import membrane_traces


def nonlinear_fluctuations(
    network: Network,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    key: Array | None,
    num_probes: int,
    age_meshes: Sequence[AgeMesh],
    workers: Workers,
) -> OutputFluctuations:
    """Paths run through the layers side by side: first that of the rate network, then one for each probe."""
    if network.depth == 1:
        return output_fluctuations(
            network, path, grid, key, num_probes, age_meshes, workers
        )
    network = network.stored()
    dtype = network.layers[0].dtype
    network = cast_to(network, dtype)
    increments, paths = grid_increments(path, grid, dtype), None
    # Neighbouring probes have opposite noise.
    pairs = np.concatenate([[0], np.arange(num_probes) // 2])
    signs = np.concatenate([[0.0], 1.0 - 2.0 * (np.arange(num_probes) % 2)])
    signs = jnp.asarray(signs[:, None, None], dtype)
    for index, layer in enumerate(network.layers[:-1]):
        of_layer = jax.random.fold_in(cast(Array, key), index)
        keys = jax.random.split(of_layer, -(-num_probes // 2))
        answer = functools.partial(_answer, layer, grid, age_meshes[index], workers)
        if paths is None:
            # All have one input, and so one density, which is not computed anew for each.
            rates, noises = jax.vmap(answer, (None, 0))(increments, keys)
            rates, noises = rates[pairs], noises[pairs]
        else:
            rates, noises = jax.vmap(answer)(paths, keys[pairs])
        paths = rates + signs * noises
    layer, tau_m = network.layers[-1], network.output_tau_m
    read = functools.partial(_read, layer, tau_m, grid, age_meshes[-1], workers)
    outputs, variances = jax.vmap(read)(cast(Array, paths))
    passed_on = jnp.moveaxis(outputs[1:] - outputs[0], 0, 1)
    own = jnp.moveaxis(variances[1:], 0, 1)
    return OutputFluctuations(outputs[0], own, passed_on, jnp.mean(passed_on, axis=1))


def _answer(
    layer: Layer,
    grid: TimeGrid,
    age_mesh: AgeMesh,
    workers: Workers,
    increments: Float[Array, "time latents"],
    key: Array,
) -> tuple[Float[Array, "time latents_out"], Float[Array, "time latents_out"]]:
    """The rate of a layer, and a sample of the noise that its neurons have given the input."""
    rate, probes, _ = layer_fluctuations(
        layer,
        increments,
        None,
        grid,
        noise=Noise(key, 1),
        readout=None,
        age_mesh=age_mesh,
        workers=workers,
    )
    return rate, cast(Array, probes)[:, 0]


def _read(
    layer: Layer,
    tau_m: Float[Array, ""],
    grid: TimeGrid,
    age_mesh: AgeMesh,
    workers: Workers,
    increments: Float[Array, "time latents"],
) -> tuple[Float[Array, "time latents_out"], Float[Array, "time latents_out"]]:
    """The output membranes under the rate of the last layer, and their variance given the input."""
    rate, _, variance = layer_fluctuations(
        layer,
        increments,
        None,
        grid,
        noise=None,
        readout=Readout(tau_m, layer.decoder**2),
        age_mesh=age_mesh,
        workers=workers,
    )
    return membrane_traces(rate, tau_m, grid.dt), cast(Array, variance)
