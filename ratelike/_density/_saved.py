"""What a caller saves of a density: functions of the `RefractoryDensity`, at times of the grid."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import numpy as np

from ratelike import _validation as validation
from ratelike._density._state import RefractoryDensity
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree


def check_saved_times(name: str, saveat: diffrax.SaveAt | None, grid: TimeGrid) -> None:
    """`saveat` asks for times of the grid only, in ascending order."""
    for sub in _subs(saveat):
        if sub.ts is None or not validation.is_concrete(sub.ts):
            continue
        validation.parameter(f"{name}.ts", sub.ts)
        times = np.asarray(sub.ts, dtype=float)
        outside = (times < 0.0) | (times > grid.duration * (1.0 + 1e-6))
        if np.any(outside):
            raise ValueError(
                f"{name}.ts must lie between 0 and the end of the grid, {grid.duration:g} s, got {times[outside][0]:g} s"
            )
        if np.any(np.diff(times) < 0.0):
            raise ValueError(
                f"{name}.ts must be in ascending order, got {validation.shown(times)}"
            )


def saves_steps(saveat: diffrax.SaveAt | None) -> bool:
    return any(sub.steps for sub in _subs(saveat))


def seeing_densities(
    subs: PyTree[diffrax.SubSaveAt],
    density_of: Callable[[Any, Any], RefractoryDensity],
) -> PyTree[diffrax.SubSaveAt]:
    """The caller's functions, applied to `density_of(state, args)` of the solver's own state."""

    def wrap(sub: diffrax.SubSaveAt) -> diffrax.SubSaveAt:
        def fn(t: Any, y: Any, args: Any) -> PyTree:
            return sub.fn(t, density_of(y, args), args)

        return eqx.tree_at(lambda s: s.fn, sub, fn)

    return jax.tree.map(wrap, subs, is_leaf=_is_sub)


def _subs(saveat: diffrax.SaveAt | None) -> list[diffrax.SubSaveAt]:
    return [] if saveat is None else jax.tree.leaves(saveat.subs, is_leaf=_is_sub)


def _is_sub(node: object) -> bool:
    return isinstance(node, diffrax.SubSaveAt)
