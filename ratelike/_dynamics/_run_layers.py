"""Layers one after the other: neighbours that differ in nothing but numbers are a loop, which compiles once."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._incoming import Piece
from ratelike._dynamics._run_layer import LayerRun, run_layer
from ratelike._network._stage import AbstractStage
from ratelike._population._host_threads import HostThreads
from ratelike._population._record import Recorded
from ratelike._population._sums import Workers
from ratelike._signal._drive import GridPath
from ratelike._signal._grid import TimeGrid

RunStage = Callable[..., LayerRun]


def run_layers(
    dynamics: AbstractDynamics,
    stages: Sequence[AbstractStage],
    path: diffrax.AbstractPath[Any],
    grid: TimeGrid,
    *,
    key: Array | None,
    recorded: Mapping[int, Recorded],
    workers: Workers,
    pieces: Sequence[Piece] | None = None,
) -> list[LayerRun]:
    """Each layer turns the path that comes in into the one that goes out.

    `key` is one key, or one for each tile of several networks; `recorded` is what to keep, by layer. `pieces` has one for
    each layer, where a run is a piece of a longer one.
    """

    def run(path, stage, index, kept=None, piece=None) -> LayerRun:
        own_key = None if key is None else _of_layer(key, index)
        return run_layer(
            dynamics,
            stage,
            path,
            grid,
            key=own_key,
            recorded=kept,
            workers=workers,
            piece=piece,
        )

    def form(index):
        leaves, structure = jax.tree.flatten(stages[index])
        apart = index in recorded or (index == 0 and not isinstance(path, GridPath))
        # In threads those that are alike are one compiled program anyway.
        apart |= isinstance(workers, HostThreads) or pieces is not None
        shapes = [(leaf.shape, leaf.dtype) for leaf in leaves]
        return index if apart else None, structure, shapes

    runs: list[LayerRun] = []
    for _, group in itertools.groupby(range(len(stages)), form):
        first, *others = group
        if others:
            assert isinstance(path, GridPath)
            alike = stages[first : first + 1 + len(others)]
            runs += _run_alike(run, path, alike, first)
        else:
            piece = None if pieces is None else pieces[first]
            runs.append(run(path, stages[first], first, recorded.get(first), piece))
        path = _path(runs[-1].mean.latents, grid)
    return runs


def _path(values: Float[Array, "time *tiles latents"], grid: TimeGrid) -> GridPath:
    """Whatever the values are: that a layer made no sense is known by its `succeeded`."""
    zeros = GridPath(jnp.zeros_like(values), grid)
    return eqx.tree_at(lambda path: path.values, zeros, values)


def _of_layer(key: Array, index: int | Int[Array, ""]) -> Array:
    """The key of a layer, or its keys."""
    fold_in = jax.random.fold_in
    return (fold_in if key.ndim == 0 else jax.vmap(fold_in, (0, None)))(key, index)


def _run_alike(
    run: RunStage, path: GridPath, stages: Sequence[AbstractStage], first: int
) -> list[LayerRun]:
    """A loop over layers, each of which hands on as many latents as it takes."""

    def run_next(values, number):
        # Selected rather than stacked: not more than one layer is in memory twice.
        stage = jax.lax.switch(number, [lambda each=each: each for each in stages])
        output = run(GridPath(values, path.grid), stage, first + number)
        return output.mean.latents, output

    numbers = jnp.arange(len(stages), dtype=jnp.int32)
    _, stacked = jax.lax.scan(run_next, path.values, numbers)

    def of_layer(number):
        return jax.tree.map(lambda leaf: leaf[number], stacked)

    return [of_layer(number) for number in range(len(stages))]
