"""The times at which a caller wants to save a density."""

import diffrax
import jax
import numpy as np

from ratelike import _validation as validation
from ratelike._signal._grid import TimeGrid


def check_saved_times(name: str, saveat: diffrax.SaveAt | None, grid: TimeGrid) -> None:
    """`saveat` asks for times of the grid only, in ascending order."""
    if saveat is None:
        return
    subs = jax.tree.leaves(
        saveat.subs, is_leaf=lambda node: isinstance(node, diffrax.SubSaveAt)
    )
    for sub in subs:
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
