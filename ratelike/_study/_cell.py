"""One part of a study: some trials of one size, which are computed together."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key, Real

from ratelike._dynamics._finite import not_finite_error
from ratelike._network import Network
from ratelike._network._packed import pack
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._tile_random import num_tiles
from ratelike._signal._drive import input_increments
from ratelike._study._checks import check_is_network
from ratelike._study._study import Study
from ratelike._study._tiles import errors_of_tiles
from ratelike._types import PyTree


class Cell(eqx.Module):
    """One finished part of a convergence study: some trials of one size."""

    size: int
    first_trial: int
    generalised: Real[np.ndarray, " trials"]  # error of each trial
    conventional: Real[np.ndarray, " trials"]
    rates: Real[np.ndarray, " trials"]  # Hz, mean of the spiking network
    neuron_steps: int = 0  # neurons of all layers and trials, times steps


def networks_at_once(size: int, budget: int) -> int:
    """Networks of a cell: those whose tiles fit into the tiles of the budget."""
    return num_tiles(budget) // num_tiles(size)


@broadcasts
def run_cell(
    study: Study, size: int, run: int, key: Key[Array, ""], budget: int, burn_in: int
) -> Cell:
    """Cell number `run` of a size. Raises `RuntimeError` if a network does not reach the end with finite values."""
    tiles_each, count = num_tiles(size), networks_at_once(size, budget)
    trials = jnp.asarray(run * count + np.arange(count))
    networks, drive_keys, spike_keys = _draw(study, size, trials, key)
    drives = [
        _increments(study, *_chosen((networks, drive_keys), jnp.asarray(i)))
        for i in range(count)
    ]
    packed = pack(networks, drives, spike_keys, size, num_tiles(budget))
    dynamics = study.dynamics.all_three
    errors, rates, succeeded = errors_of_tiles(
        packed, study.grid, dynamics, burn_in, study.mesh
    )
    for each, made_sense in zip(dynamics, np.asarray(succeeded), strict=True):
        if not made_sense:
            raise not_finite_error(
                f"a network of size {size} under {type(each).__name__}",
                f"in one of trials {run * count} to {(run + 1) * count - 1}",
            )
    of_networks = slice(0, count * tiles_each, tiles_each)
    generalised, conventional = (np.asarray(e)[of_networks] for e in errors)
    return Cell(
        size,
        run * count,
        generalised,
        conventional,
        np.asarray(rates)[of_networks],
        neuron_steps=count * size * networks.depth * study.grid.num_steps,
    )


@eqx.filter_jit
def _draw(
    study: Study, size: int, trials: Integer[Array, " trials"], key: Key[Array, ""]
) -> tuple[Network, Key[Array, " trials"], Key[Array, " trials"]]:
    """Networks, and keys of drives and spikes; one after the other, which compiles faster than all at once."""

    def draw(trial: Integer[Array, ""]) -> tuple[Network, Array, Array]:
        keys = jax.random.split(jax.random.fold_in(of_size, trial), 3)
        network = study.make_network(size, keys[0])
        check_is_network(network, size)
        return network.stored(), keys[1], keys[2]

    of_size = jax.random.fold_in(key, size)
    return jax.lax.map(draw, trials)


def _increments(
    study: Study, network: Network, key: Key[Array, ""]
) -> Float[Array, "time latents"]:
    first, drive = network.layers[0], study.make_drive(network, key)
    # The drive does not depend on the size: this compiles once. With a function that is made anew for each drive, never.
    has_function = any(map(callable, jax.tree.leaves(drive)))
    increments_of = input_increments if has_function else _jitted_increments
    return increments_of(drive, study.grid, first.num_latents, first.dtype)


@eqx.filter_jit  # leaf by leaf it would take ten milliseconds a network
def _chosen(networks: PyTree, index: Integer[Array, ""]) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[index], networks)


_jitted_increments = eqx.filter_jit(input_increments)
