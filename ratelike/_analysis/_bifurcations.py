"""Where along a branch the number of growing modes changes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ratelike._analysis._fixed_point import FixedPoint
from ratelike._analysis._modes import kind_of
from ratelike._analysis._stability import Stability


class Bifurcation(NamedTuple):
    """Between two points of a branch, by linear interpolation."""

    value: float  # of the parameter
    feedback: Float[np.ndarray, " loops"]
    kind: str  # "saddle-node", "branch point", "flip" or "Hopf"
    frequency: float  # Hz


def bifurcations_of(
    values: Float[np.ndarray, " points"],
    states: Sequence[FixedPoint],
    stabilities: Sequence[Stability],
) -> tuple[Bifurcation, ...]:
    """In the order of the branch."""
    found = []
    turns = np.sign(np.diff(values))
    for index in range(len(values) - 1):
        before, after = stabilities[index : index + 2]
        if before.num_growing == after.num_growing:
            continue
        complex_pair = abs(before.num_growing - after.num_growing) % 2 == 0
        ends = [_crossing(each, complex_pair) for each in (before, after)]
        growth = np.asarray([end.real for end in ends])
        apart = growth[1] - growth[0]
        part = float(np.clip(-growth[0] / apart, 0.0, 1.0)) if apart != 0.0 else 0.5
        angle = (1.0 - part) * abs(ends[0].imag) + part * abs(ends[1].imag)
        near = turns[max(index - 1, 0) : index + 2]
        folds = bool(np.any(near != near[0]))
        kind = kind_of(angle, before.exponents.dtype)
        if kind == "saddle-node" and not folds:
            kind = "branch point"
        value = (1.0 - part) * values[index] + part * values[index + 1]
        first, second = (
            np.asarray(each.feedback) for each in states[index : index + 2]
        )
        feedback = (1.0 - part) * first + part * second
        frequency = angle / (2.0 * np.pi * before.dt)
        found.append(Bifurcation(float(value), feedback, kind, float(frequency)))
    return tuple(found)


def _crossing(stability: Stability, complex_pair: bool) -> complex:
    """The mode nearest to the unit circle, of those that can be what crosses."""
    modes: Any = np.asarray(stability.exponents)
    angles = np.abs(modes.imag)
    is_pair = np.asarray([kind_of(each, modes.dtype) == "Hopf" for each in angles])
    chosen = modes[is_pair == complex_pair]
    chosen = modes if len(chosen) == 0 else chosen
    return complex(chosen[np.argmin(np.abs(chosen.real))])
