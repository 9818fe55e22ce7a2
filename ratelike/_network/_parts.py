"""Named populations within a layer: who belongs to which."""

import itertools
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ratelike import _validation as validation

# Names and numbers of neurons, in the order in which these lie.
Parts: TypeAlias = tuple[tuple[str, int], ...]


def checked_parts(name: str, populations: Any, num_neurons: int) -> Parts:
    """Numbers of neurons by name, which add up to those of the layer; none, where no names are given."""
    if populations is None:
        return ()
    validation.instance(name, populations, Mapping)
    for each in populations:
        validation.instance(f"each name in {name}", each, str)
    parts = tuple(
        (each, validation.count(f"{name}[{each!r}]", number))
        for each, number in populations.items()
    )
    total = sum(number for _, number in parts)
    if total != num_neurons:
        raise ValueError(
            f"{name} must have the {num_neurons} neurons of the layer in all, got {total}"
        )
    return parts


def ranges(parts: Parts) -> dict[str, range]:
    """The numbers of the neurons of each population."""
    ends = list(itertools.accumulate((number for _, number in parts), initial=0))
    names = [name for name, _ in parts]
    return {
        name: range(start, stop)
        for name, start, stop in zip(names, ends[:-1], ends[1:], strict=True)
    }


def membership(
    parts: Parts, numbers: Int[Array, " neurons"]
) -> Bool[Array, "neurons parts"] | None:
    """Which of the neurons belong to each population; None where there are no names."""
    if not parts:
        return None
    within = [
        (each.start <= numbers) & (numbers < each.stop)
        for each in ranges(parts).values()
    ]
    return jnp.stack(within, axis=1)
