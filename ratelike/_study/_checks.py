"""Checks of studies, made before anything compiles."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import equinox as eqx
from jaxtyping import Array, Key

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._inputs import check_layers, checked_path
from ratelike._network import Network
from ratelike._signal._drive import AbstractDrive
from ratelike._signal._grid import TimeGrid
from ratelike._study._input import MakeDrive


def checked_sizes(sizes: Any) -> tuple[int, ...]:
    """Different sizes in ascending order."""
    validation.instance("sizes", sizes, Iterable)
    if isinstance(sizes, (str, bytes)):
        raise ValueError(f"sizes must list numbers, got {validation.shown(sizes)}")
    sizes = tuple(validation.count("sizes", size) for size in sizes)
    if not sizes:
        raise ValueError("sizes must name at least one network size, got none")
    if len(set(sizes)) != len(sizes):
        raise ValueError(f"sizes must differ from each other, got {sizes}")
    return tuple(sorted(sizes))


def check_budget(name: str, budget: int | None, largest: int) -> None:
    """A network of the largest size fits into a cell."""
    if budget is not None and budget < largest:
        raise ValueError(
            f"{name} must be at least the largest size, {largest}, got {budget}"
        )


def check_network(
    make_network: Callable[[int, Array], Network],
    size: int,
    key: Key[Array, ""],
    grid: TimeGrid,
    dynamics: Sequence[AbstractDynamics],
) -> Network:
    """A small network that is made for real, and can be run under each of the dynamics."""
    network = make_network(size, key)
    check_is_network(network, size)
    validation.finite_leaves("network", network)
    check_layers(network, grid, dynamics)
    return network


def check_is_network(network: Any, size: int | None = None) -> None:
    """`network` is a `Network`, with `size` neurons in each layer where a size was asked for."""
    if not isinstance(network, Network):
        raise ValueError(
            f"make_network must return a ratelike.Network, got {validation.shown(network)}"
        )
    for index, layer in enumerate(network.layers):
        if size is not None and layer.num_neurons != size:
            raise ValueError(
                f"make_network must give every layer the {size} neurons it is asked for, "
                f"got {layer.num_neurons} in layer {index}"
            )


def check_drive(
    make_drive: MakeDrive, network: Network, key: Key[Array, ""], grid: TimeGrid
) -> None:
    """The drive of a small network has its latents; only the shape is computed, which compiles nothing."""
    drive = make_drive(network, key)
    first = network.layers[0]
    expected = (grid.num_steps, first.num_latents)
    if not isinstance(drive, AbstractDrive):
        try:
            checked_path(drive, grid, first.num_latents, first.dtype)
        except ValueError as error:
            raise ValueError(
                f"make_drive must return a drive such as ratelike.WienerDrive, increments of the shape {expected} (time, "
                f"latents), or a path, got {validation.shown(drive)}: {error}"
            ) from error
        return
    shape = eqx.filter_eval_shape(lambda each: each.increments(grid), drive).shape
    if shape != expected:
        raise ValueError(
            f"make_drive must return a drive whose increments have the shape {expected} (time, latents) of the grid and "
            f"the network, got {shape}"
        )
