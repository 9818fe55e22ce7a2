"""Layers one after the other: neighbours that differ in nothing but numbers are a loop, which compiles once."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._run_layer import LayerRun, run_layer
from ratelike._network import AbstractLayer
from ratelike._signal._drive import GridPath
from ratelike._signal._grid import TimeGrid

RunLayer = Callable[..., LayerRun]


def run_layers(
    dynamics: AbstractDynamics,
    layers: Sequence[AbstractLayer],
    path: diffrax.AbstractPath,
    grid: TimeGrid,
    *,
    key: Array | None,
    recorded: Mapping[int, Integer[Array, " recorded"]],
    mesh: jax.sharding.Mesh | None,
) -> list[LayerRun]:
    """Each layer turns the path that comes in into the one that goes out. `recorded` lists neurons by layer."""

    def run(path, layer, index, neurons=None) -> LayerRun:
        own_key = None if key is None else jax.random.fold_in(key, index)
        return run_layer(
            dynamics, layer, path, grid, key=own_key, recorded=neurons, mesh=mesh
        )

    def form(index):
        leaves, structure = jax.tree.flatten(layers[index])
        apart = index in recorded or (index == 0 and not isinstance(path, GridPath))
        shapes = [(leaf.shape, leaf.dtype) for leaf in leaves]
        return index if apart else None, structure, shapes

    runs: list[LayerRun] = []
    for _, group in itertools.groupby(range(len(layers)), form):
        first, *others = group
        if others:
            assert isinstance(path, GridPath)
            alike = layers[first : first + 1 + len(others)]
            runs += _run_alike(run, path, alike, first)
        else:
            runs.append(run(path, layers[first], first, recorded.get(first)))
        path = GridPath(_handed_on(runs[-1], layers[len(runs) - 1]), grid)
    return runs


def _handed_on(run: LayerRun, layer: AbstractLayer) -> Float[Array, "time latents"]:
    """dY = (1/N) sum_j D_j dN_j."""
    return run.decoded[:, :-1] / layer.num_neurons


def _run_alike(
    run: RunLayer, path: GridPath, layers: Sequence[AbstractLayer], first: int
) -> list[LayerRun]:
    def run_next(values, number):
        # Selected rather than stacked: not more than one layer is in memory twice.
        layer = jax.lax.switch(number, [lambda each=each: each for each in layers])
        output = run(GridPath(values, path.grid), layer, first + number)
        return _handed_on(output, layer), output

    numbers = jnp.arange(len(layers), dtype=jnp.int32)
    _, stacked = jax.lax.scan(run_next, path.values, numbers)

    def of_layer(number):
        return jax.tree.map(lambda leaf: leaf[number], stacked)

    return [of_layer(number) for number in range(len(layers))]
