"""What a folder is to hold, given what it holds: the same sweep, or a larger one with the cells that it has.

A sweep that was extended has its earlier designs (axes and trials) in `stages` of its configuration. Cells keep their
numbers and the hash of the configuration that the folder was begun with, so that they stay as they are.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ratelike._study._sweep._description import hash_of
from ratelike._study._sweep._differences import differences
from ratelike._study._sweep._plan import Axis

Json = dict[str, Any]
DESIGN = ("axes", "num_trials")


@dataclass(frozen=True)
class Asked:
    """What a call of `sweep` asks for."""

    axes: tuple[Axis, ...]
    num_trials: int
    describe_axis: Callable[[Axis], Json]
    # All else, by the axes that the folder was begun with, on which the default budget depends.
    others: Callable[[Sequence[Axis]], Json]

    def configuration(
        self, axes: Sequence[Axis], num_trials: int, begun: Sequence[Axis]
    ) -> Json:
        design = {
            "axes": [self.describe_axis(axis) for axis in axes],
            "num_trials": num_trials,
        }
        # As in the file: JSON has no tuples.
        return json.loads(json.dumps({**self.others(begun), **design}))

    def part(self, described: Sequence[Json]) -> tuple[Axis, ...] | None:
        """The axes with the values, and in the order, of described ones; None if not all of these are among them."""
        if [axis.name for axis in self.axes] != [each["name"] for each in described]:
            return None
        parts = []
        for axis, each in zip(self.axes, described, strict=True):
            # As text: 1, 1.0 and True are equal.
            places = {json.dumps(label): i for i, label in enumerate(axis.labels)}
            texts = [json.dumps(label) for label in each["labels"]]
            if not set(texts) <= set(places):
                return None
            chosen = [places[text] for text in texts]
            labels = tuple(axis.labels[i] for i in chosen)
            values = tuple(axis.values[i] for i in chosen)
            parts.append(dataclasses.replace(axis, labels=labels, values=values))
        return tuple(parts)


def begin(asked: Asked) -> Json:
    """The configuration of a new folder."""
    return asked.configuration(asked.axes, asked.num_trials, asked.axes)


def changes_of(held: Json, asked: Asked) -> list[str]:
    """What differs from the sweep that the folder holds, a line for each."""
    first = asked.part(designs(held)[0]["axes"])
    now = asked.configuration(asked.axes, asked.num_trials, first or asked.axes)
    return list(differences(_without_stages(held), now))


def extended(held: Json, asked: Asked) -> Json | list[str]:
    """The configuration with more trials and values, or what differs in another way."""
    part, first = asked.part(held["axes"]), asked.part(designs(held)[0]["axes"])
    if part is None or first is None or asked.num_trials < held["num_trials"]:
        return changes_of(held, asked)
    same = asked.configuration(part, held["num_trials"], first)
    changes = list(differences(_without_stages(held), same))
    if changes:
        return changes
    now = asked.configuration(asked.axes, asked.num_trials, first)
    return {**now, "stages": designs(held)}


def designs(configuration: Json) -> list[Json]:
    """Axes and trials of the stages, the last of which is what the folder is to hold."""
    last = {name: configuration[name] for name in DESIGN}
    return [*configuration.get("stages", []), last]


def hash_of_cells(configuration: Json) -> str:
    """The hash of the configuration that the folder was begun with, which all of its cells name."""
    if "stages" not in configuration:  # of any format
        return hash_of(configuration)
    return hash_of({**_without_stages(configuration), **designs(configuration)[0]})


def _without_stages(configuration: Json) -> Json:
    return {name: each for name, each in configuration.items() if name != "stages"}
