"""A signal that is a function of time."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._signal._drive import AbstractDrive
from ratelike._signal._grid import TimeGrid

MOST_NODES = 64


class FunctionDrive(AbstractDrive):
    r"""A signal x(t) in units of the latents, by a function of time: dX[n] = int x dt over step n.

        step = rl.FunctionDrive(lambda t: np.where(t < 0.1, 0.0, 2.0))
        sine = rl.FunctionDrive(lambda t: np.sin(2 * np.pi * 5.0 * t[:, None] + np.array([0.0, np.pi / 2])))

    `function` takes an array of times (time,) in seconds and returns x, (time,) for one latent or (time, latents). Under
    a constant x the potential settles at bias + E x.

    The integral is a Gauss-Legendre rule of `num_nodes` nodes inside each step, m say: exact for polynomials of degree
    2 m - 1 = 7, and for a sinusoid of angular frequency w right to about (w dt)^(2 m) / (2 m)! / 2^(2 m), which is 10^-7 at
    a period of 4 steps. A jump or kink at a grid point costs nothing, since no node lies on a grid point; a jump within a
    step costs up to 0.2 of what the step before or after it brings. Jumps at other times are a table for `SignalDrive`.

    Times are given as an array of NumPy in double precision, for which a function of NumPy keeps its phase in runs of any
    length; a function of `jax.numpy` rounds them to the precision of JAX. A function that is an `equinox.Module` is
    differentiated by its arrays.

    Raises `ValueError` for what is not a function, unless 1 <= `num_nodes` <= 64, and, on a grid, for a function that fails on
    an array of times or returns another shape or values that are not finite.
    """

    function: Callable[[Float[np.ndarray, " time"]], Any]
    num_nodes: int = eqx.field(static=True)

    def __init__(
        self, function: Callable[[Float[np.ndarray, " time"]], Any], num_nodes: int = 4
    ) -> None:
        validation.function("FunctionDrive.function", function, "an array of times")
        self.function = function
        self.num_nodes = validation.count("FunctionDrive.num_nodes", num_nodes)
        if self.num_nodes > MOST_NODES:
            raise ValueError(
                f"FunctionDrive.num_nodes must be at most {MOST_NODES}, got {num_nodes}"
            )

    def increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        nodes, weights = np.polynomial.legendre.leggauss(self.num_nodes)
        steps = np.arange(grid.first_step, grid.first_step + grid.num_steps)
        times = (steps[:, None] + 0.5 * (1.0 + nodes)) * grid.dt
        values = self._values(times.ravel())
        values = values.reshape(grid.num_steps, self.num_nodes, values.shape[1])
        first, *others = (
            float(weight) * 0.5 * grid.dt * values[:, node]
            for node, weight in enumerate(weights)
        )
        for other in others:
            first = first + other
        return first

    def _values(
        self, times: Float[np.ndarray, " time"]
    ) -> Float[Array, "time latents"]:
        name = "FunctionDrive.function"
        try:
            returned = self.function(times)
        except Exception as error:
            raise ValueError(
                f"{name} must take an array of times and return x of each (np.where in place of if), got "
                f"{type(error).__name__}: {validation.shown(str(error))}"
            ) from error
        values = validation.signal(name, returned)
        if values.ndim not in (1, 2) or len(values) != len(times) or values.size == 0:
            raise ValueError(
                f"{name} must return an array of shape ({len(times)},) or ({len(times)}, latents) for {len(times)} times, "
                f"got shape {values.shape}"
            )
        return values.reshape(len(times), -1)
