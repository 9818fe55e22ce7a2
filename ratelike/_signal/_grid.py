"""The time grid t_n = n dt that all signals of a simulation live on."""

import equinox as eqx
import numpy as np

from ratelike import _validation as validation


class TimeGrid(eqx.Module):
    """`num_steps` steps of `dt` seconds: t_n = n dt, n = 0, ..., num_steps.

    Signals are their increments over [t_n, t_{n+1}). Both fields are static: they set array sizes.

    Raises `ValueError` unless `dt` > 0 and `num_steps` >= 1.
    """

    dt: float = eqx.field(static=True)
    num_steps: int = eqx.field(static=True)

    def __init__(self, dt: float, num_steps: int) -> None:
        self.dt = validation.number("TimeGrid.dt", dt, above=0.0)
        self.num_steps = validation.count("TimeGrid.num_steps", num_steps)

    @property
    def times(self) -> np.ndarray:
        """t_n in seconds, shape (num_steps + 1,), float64: n dt, never a running sum."""
        return np.arange(self.num_steps + 1) * self.dt

    @property
    def duration(self) -> float:
        """num_steps dt, in seconds."""
        return self.num_steps * self.dt
