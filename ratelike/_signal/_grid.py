"""The time grid t_n = n dt that all signals of a simulation live on."""

import equinox as eqx
import numpy as np

from ratelike import _validation as validation


class TimeGrid(eqx.Module):
    """`num_steps` steps of `dt` seconds: t_n = n dt, n = first_step, ..., first_step + num_steps.

    Signals are their increments over [t_n, t_{n+1}). The fields are static: they set array sizes. `first_step` is for a
    piece of a longer run, which goes on where another one ended.

    Raises `ValueError` unless `dt` > 0, `num_steps` >= 1 and `first_step` >= 0.
    """

    dt: float = eqx.field(static=True)
    num_steps: int = eqx.field(static=True)
    first_step: int = eqx.field(static=True)

    def __init__(self, dt: float, num_steps: int, first_step: int = 0) -> None:
        self.dt = validation.number("TimeGrid.dt", dt, above=0.0)
        self.num_steps = validation.count("TimeGrid.num_steps", num_steps)
        self.first_step = validation.count(
            "TimeGrid.first_step", first_step, at_least=0
        )

    @property
    def times(self) -> np.ndarray:
        """t_n in seconds, shape (num_steps + 1,), float64: n dt, never a running sum."""
        return (
            np.arange(self.first_step, self.first_step + self.num_steps + 1) * self.dt
        )

    @property
    def duration(self) -> float:
        """num_steps dt, in seconds."""
        return self.num_steps * self.dt
