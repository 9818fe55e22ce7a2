"""The cells of a sweep: every point of its axes, once for each seed block."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jax
import numpy as np
from jaxtyping import Array, Key

from ratelike import _validation as validation

Label = bool | int | float | str

RESERVED = ("key", "trial", "trials", "num_trials")


@dataclass(frozen=True)
class Axis:
    """A parameter, the values it takes, and what they are called."""

    name: str
    labels: tuple[Label, ...]
    values: tuple[Any, ...]  # handed to make_network
    named: bool  # values are objects that the labels name; else both are the same


@dataclass(frozen=True)
class PlannedCell:
    """One point of the axes x one seed block."""

    index: int
    point: int
    block: int
    labels: dict[str, Label]
    parameters: dict[str, Any]

    def __str__(self) -> str:
        place = ", ".join(f"{name}={label}" for name, label in self.labels.items())
        return f"cell {self.index} ({place}{', ' if place else ''}block {self.block})"


def make_axes(axes: Any) -> tuple[Axis, ...]:
    """Checks and copies the `axes` of a sweep."""
    validation.instance("axes", axes, Mapping)
    return tuple(_axis(name, values) for name, values in axes.items())


def make_plan(
    axes: Sequence[Axis], blocks: int, stages: Sequence[Mapping[str, Any]] = ()
) -> list[PlannedCell]:
    """All points of the first block come first, so that an unfinished sweep has seen all of its range.

    Cells are numbered in this order; those of earlier `stages` of the folder have the numbers that they got there.
    """
    numbers: dict[tuple[Any, ...], int] = {}
    for stage in stages:
        listed = itertools.product(*(axis["labels"] for axis in stage["axes"]))
        for cell in itertools.product(range(stage["num_trials"]), list(listed)):
            numbers.setdefault(cell, len(numbers))
    choices = [list(zip(axis.labels, axis.values, strict=True)) for axis in axes]
    names = [axis.name for axis in axes]
    points = list(itertools.product(*choices))
    cells = []
    for block, (point, chosen) in itertools.product(range(blocks), enumerate(points)):
        labels = {name: label for name, (label, _) in zip(names, chosen, strict=True)}
        values = {name: value for name, (_, value) in zip(names, chosen, strict=True)}
        cell = block, tuple(labels.values())
        number = numbers.setdefault(cell, len(numbers))
        cells.append(PlannedCell(number, point, block, labels, values))
    return cells


def key_of_point(key: Key[Array, ""], labels: Mapping[str, Label]) -> Key[Array, ""]:
    """A key that depends on `key` and the named values alone, not on what else is swept; `key` itself if there are none.

    64 bits of a hash of the names and values are folded in.
    """
    if not labels:
        return key
    text = json.dumps(dict(labels), sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    for word in np.frombuffer(digest[:8], dtype="<u4"):
        key = jax.random.fold_in(key, word)
    return key


def _axis(name: Any, values: Any) -> Axis:
    if not isinstance(name, str) or not name.isidentifier() or name in RESERVED:
        raise ValueError(
            f"axes must be named after parameters of make_network other than {', '.join(RESERVED)}, got {name!r}"
        )
    where = f"axes[{name!r}]"
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{where} must list values, got {values!r}")
    named = isinstance(values, Mapping)
    if named:
        labels = list(values)
        if not all(isinstance(label, str) for label in labels):
            raise ValueError(f"{where} must name its values by strings, got {labels!r}")
    else:
        labels = [_label(where, value) for value in values]
    if not labels:
        raise ValueError(f"{where} must hold at least one value, got none")
    if len(set(labels)) != len(labels):
        raise ValueError(f"{where} must hold values that differ, got {labels!r}")
    kinds = {float if type(label) is int else type(label) for label in labels}
    if len(kinds) > 1:
        raise ValueError(f"{where} must hold values of one kind, got {labels!r}")
    if name == "num_neurons":
        labels = [validation.count(where, cast(int, label)) for label in labels]
    objects = values.values() if named else labels
    return Axis(name, tuple(labels), tuple(objects), named)


def _label(where: str, value: Any) -> Label:
    if isinstance(value, (np.generic, np.ndarray, jax.Array)) and np.ndim(value) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must hold finite numbers, got {value}")
    if not isinstance(value, (bool, int, float, str)):
        raise ValueError(
            f"{where} must hold numbers or strings, or map the names of other objects to them, got {value!r}"
        )
    return value
