"""Fluctuations of a whole network whose layers answer them as they are: each probe is a run of its own."""

import functools
from collections.abc import Sequence
from typing import cast

import diffrax
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ratelike._density._age_mesh import AgeMesh
from ratelike._fluctuations._block import Noise, Readout
from ratelike._fluctuations._layer import layer_fluctuations
from ratelike._fluctuations._network import OutputFluctuations, output_fluctuations
from ratelike._network import Layer, Network
from ratelike._numerics._casting import cast_to
from ratelike._signal._drive import grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import membrane_traces

# The rate network first, without noise, and then the probes.
Members = Float[Array, "members time latents"]


def nonlinear_fluctuations(
    network: Network,
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    key: Array | None,
    num_probes: int,
    age_meshes: Sequence[AgeMesh],
    mesh: jax.sharding.Mesh | None,
) -> OutputFluctuations:
    """Each layer but the last adds to the rate, given a member's input, the noise that its neurons have given this."""
    if network.depth == 1:
        return output_fluctuations(
            network, path, grid, key, num_probes, age_meshes, mesh
        )
    network = network.stored()
    dtype = network.layers[0].dtype
    network = cast_to(network, dtype)
    increments = grid_increments(path, grid, dtype)
    run = functools.partial(layer_fluctuations, grid=grid, mesh=mesh)
    # Here all members have one input, and one density.
    noise = Noise(_key_of_layer(key, 0), -(-num_probes // 2))
    rate, probes, _ = run(
        network.layers[0],
        increments,
        None,
        noise=noise,
        readout=None,
        age_mesh=age_meshes[0],
    )
    noises = jnp.moveaxis(cast(Array, probes), 1, 0)
    members = rate[None] + _signed(noises, num_probes)

    def noisy(
        layer: Layer, age_mesh: AgeMesh, member: Array, key: Array
    ) -> tuple[Array, Array]:
        rate, probes, _ = run(
            layer, member, None, noise=Noise(key, 1), readout=None, age_mesh=age_mesh
        )
        return rate, cast(Array, probes)[:, 0]

    def read(layer: Layer, age_mesh: AgeMesh, member: Array) -> tuple[Array, Array]:
        tau_m = network.output_tau_m
        readout = Readout(tau_m, layer.decoder**2)
        rate, _, variance = run(
            layer, member, None, noise=None, readout=readout, age_mesh=age_mesh
        )
        return membrane_traces(rate, tau_m, grid.dt), cast(Array, variance)

    for index, layer in enumerate(network.layers[1:-1], 1):
        answer = functools.partial(noisy, layer, age_meshes[index])
        keys = _keys_of_members(_key_of_layer(key, index), num_probes)
        rates, noises = jax.vmap(answer)(members, keys)
        members = rates + _signs(num_probes, dtype) * noises
    answer = functools.partial(read, network.layers[-1], age_meshes[-1])
    outputs, variances = jax.vmap(answer)(members)
    passed_on = jnp.moveaxis(outputs[1:] - outputs[0], 0, 1)
    own = jnp.moveaxis(variances[1:], 0, 1)
    return OutputFluctuations(outputs[0], own, passed_on, jnp.mean(passed_on, axis=1))


def _key_of_layer(key: Array | None, index: int) -> Array:
    return jax.random.fold_in(cast(Array, key), index)


def _pairs(num_probes: int) -> Array:
    """The pair of each member; neighbouring probes have opposite noise. The rate network, which has none, is of any."""
    pairs = jnp.arange(num_probes, dtype=jnp.int32) // 2
    return jnp.concatenate([jnp.zeros_like(pairs[:1]), pairs])


def _signs(num_probes: int, dtype: DTypeLike) -> Float[Array, "members 1 1"]:
    index = jnp.arange(1 + num_probes, dtype=jnp.int32)
    signs = jnp.where(index % 2 == 1, 1.0, -1.0).astype(dtype)
    return signs.at[0].set(0.0)[:, None, None]


def _signed(noises: Float[Array, "pairs time latents"], num_probes: int) -> Members:
    return _signs(num_probes, noises.dtype) * noises[_pairs(num_probes)]


def _keys_of_members(key: Array, num_probes: int) -> Array:
    pairs = _pairs(num_probes)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, pairs)
