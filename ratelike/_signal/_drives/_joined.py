"""Latents of several drives side by side."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike._signal._drive import AbstractDrive, checked_drives
from ratelike._signal._grid import TimeGrid


class JoinedDrive(AbstractDrive):
    """The latents of several drives, one drive after the other: a cue for the first latents and noise for the rest.

        noise = rl.WienerDrive(9, tau_m=10e-3, key=key)
        drive = rl.JoinedDrive([rl.FunctionDrive(lambda t: np.where(t < 0.1, 0.0, 2.0)), noise])      # 10 latents

    Raises `ValueError` for what is not a list of drives.
    """

    drives: tuple[AbstractDrive, ...]

    def __init__(self, drives: Sequence[AbstractDrive]) -> None:
        self.drives = checked_drives("JoinedDrive.drives", drives)

    def increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        parts = [each.increments(grid) for each in self.drives]
        dtype = np.result_type(*(each.dtype for each in parts))
        return jnp.concatenate([each.astype(dtype) for each in parts], axis=1)
