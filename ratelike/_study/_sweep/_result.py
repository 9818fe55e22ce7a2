"""What a sweep has measured."""

import contextlib
import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, Shaped

from ratelike._io._units import AXIS_MEANINGS, CONVERGENCE_UNITS
from ratelike._io._xarray import Dataset, make_dataset
from ratelike._study._cell import Cell
from ratelike._study._result import Convergence
from ratelike._study._sweep._cell_file import DamagedCell, FinishedCell, read_cell
from ratelike._study._sweep._extension import hash_of_cells
from ratelike._study._sweep._manifest import cell_files, folder_of, read_manifest
from ratelike._study._sweep._plan import Label


@dataclass(frozen=True)
class SweepResult:
    """The finished cells of a sweep. Trials of one point are in the order of their blocks."""

    cells: tuple[FinishedCell, ...]
    manifest: dict[str, Any]

    @property
    def axes(self) -> dict[str, list[Label]]:
        """The names and labels of the axes."""
        axes = self.manifest["configuration"]["axes"]
        return {axis["name"]: axis["labels"] for axis in axes}

    @property
    def complete(self) -> bool:
        configuration = self.manifest["configuration"]
        # Up to format 2 it was called `trials`.
        blocks = configuration.get("num_trials", configuration.get("trials"))
        points = math.prod(len(labels) for labels in self.axes.values())
        return len(self.cells) == points * blocks

    def convergence(self, **point: Label) -> Convergence:
        """Error against `num_neurons` at one point of the other axes, as `ratelike.convergence` returns it.

        Raises `ValueError` unless `num_neurons` is an axis, all others are named, and something is finished there.
        """
        others = [name for name in self.axes if name != "num_neurons"]
        if "num_neurons" not in self.axes or set(point) != set(others):
            raise ValueError(
                f"convergence must be given every axis but num_neurons, {others}, got {list(point)} "
                f"of a sweep over {list(self.axes)}"
            )
        for name, label in point.items():
            if label not in self.axes[name]:
                raise ValueError(
                    f"{name} must be one of {self.axes[name]}, got {label!r}"
                )
        finished = []
        for size in self.axes["num_neurons"]:
            labels = {**point, "num_neurons": size}
            finished += self._at(*(labels[name] for name in self.axes))
        if not finished or not all(
            set(CONVERGENCE_UNITS) <= set(cell.values) for cell in self.cells
        ):
            raise ValueError(
                "convergence must be called on a sweep that measured the errors of rate networks, got "
                f"{sorted({name for cell in self.cells for name in cell.values})}"
            )
        return Convergence.from_cells(map(_as_cell, finished))

    def dataset(self, attributes: Mapping[str, Any] | None = None) -> Dataset:
        """Everything as an `xarray.Dataset`, which needs the extra `io`: a dimension for each axis, and `trial`.

        Points differ in their numbers of trials: the variable `trials` holds these, and where a point has fewer than
        another, its entries are NaN. Further dimensions of the measurement `name` are called name_0, name_1, ... Attributes:
        the configuration (JSON), its hash, the seed, versions and devices, and those given.

        Raises `ValueError` if a measurement has different shapes in different cells.
        """
        axes = self.axes
        counts = np.zeros([len(labels) for labels in axes.values()], int)
        at = {}
        for point in np.ndindex(counts.shape):
            labels = zip(axes.values(), point, strict=True)
            at[point] = self._at(*(labels[i] for labels, i in labels))
        for point, cells in at.items():
            counts[point] = sum(cell.num_trials for cell in cells)
        names = list(dict.fromkeys(name for cell in self.cells for name in cell.values))
        variables = {}
        for name in names:
            values = _filled(name, at, counts)
            extra = [f"{name}_{i}" for i in range(values.ndim - counts.ndim - 1)]
            dimensions = (*axes, "trial", *extra)
            variables[name] = (dimensions, values, CONVERGENCE_UNITS.get(name))
        variables["trials"] = (
            tuple(axes),
            counts,
            {"units": "1", "long_name": "number of trials"},
        )
        coordinates: dict[str, Any] = {
            name: (name, labels, AXIS_MEANINGS.get(name))
            for name, labels in axes.items()
        }
        coordinates["trial"] = ("trial", np.arange(counts.max(initial=0)))
        attributes = {**self._attributes(), **(attributes or {})}
        return make_dataset(
            "study.SweepResult.dataset", variables, coordinates, attributes
        )

    def _at(self, *labels: Label) -> list[FinishedCell]:
        """The blocks of the point with these labels, in order."""
        return self._by_point.get(labels, [])

    @functools.cached_property
    def _by_point(self) -> dict[tuple[Label, ...], list[FinishedCell]]:
        by_point: dict[tuple[Label, ...], list[FinishedCell]] = {}
        for cell in sorted(self.cells, key=lambda cell: cell.block):
            labels = tuple(cell.parameters[name] for name in self.axes)
            by_point.setdefault(labels, []).append(cell)
        return by_point

    def _attributes(self) -> dict[str, Any]:
        configuration = self.manifest["configuration"]
        places = {
            json.dumps(cell.facts["environment"], sort_keys=True) for cell in self.cells
        }
        return {
            "title": "a sweep of ratelike",
            "configuration": json.dumps(configuration, sort_keys=True),
            "configuration_hash": self.manifest["hash"],
            "seed": json.dumps(configuration["key"]),
            "dt": configuration["grid"]["fields"]["dt"],
            "num_steps": configuration["grid"]["fields"]["num_steps"],
            "versions": "; ".join(sorted(places)),
        }


def read_sweep(folder: Path | str) -> SweepResult:
    """What is finished of the sweep in `folder`, without running anything: also while it runs, and in part.

    Damaged cells count as missing; `result.complete` tells. Files that are not called as `sweep` calls them (a copy
    `0.npz` of `000000.npz`) are not read. Raises `ValueError` if the folder holds no sweep, or one of a later format.
    """
    folder = folder_of(folder)
    manifest = read_manifest(folder)
    configuration = hash_of_cells(manifest["configuration"])
    cells = []
    for index, path in cell_files(folder):
        with contextlib.suppress(DamagedCell, FileNotFoundError):
            cells.append(read_cell(path, configuration=configuration, index=index))
    result = SweepResult(tuple(cells), manifest)
    axes = result.axes

    def place(cell: FinishedCell) -> list[int]:
        labels = (axes[name].index(cell.parameters[name]) for name in axes)
        return [cell.block, *labels]

    # Of an extended sweep the numbers of the files are in another order.
    return SweepResult(tuple(sorted(cells, key=place)), manifest)


def _as_cell(cell: FinishedCell) -> Cell:
    values = (cell.values[name] for name in CONVERGENCE_UNITS)
    first_trial = cell.block * cell.num_trials
    size = cell.parameters["num_neurons"]
    return Cell(size, first_trial, *values, neuron_steps=cell.neuron_steps)


def _filled(
    name: str,
    at: Mapping[tuple[int, ...], Sequence[FinishedCell]],
    counts: Integer[np.ndarray, "*axes"],
) -> Shaped[np.ndarray, "..."]:
    """The trials of all points as one array, with NaN (or 0) where a point has fewer than another."""
    parts = {
        point: np.concatenate([cell.values[name] for cell in cells])
        for point, cells in at.items()
        if cells
    }
    shapes = {part.shape[1:] for part in parts.values()}
    if len(shapes) > 1:
        raise ValueError(
            f"{name} must have one shape in all cells to go into one Dataset, got {sorted(shapes)}; use result.cells"
        )
    dtype = np.result_type(*parts.values())
    if np.any(counts < counts.max()):
        dtype = np.result_type(dtype, np.float32)  # NaN is no integer
    shape = (*counts.shape, counts.max(), *shapes.pop())
    values = np.full(shape, np.nan if dtype.kind == "f" else 0, dtype)
    for point, part in parts.items():
        values[(*point, slice(len(part)))] = part
    return values
