"""External input: paths X(t) in R^p, known by their increments on a grid."""

import abc
from collections.abc import Sequence
from typing import Any, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._signal._grid import TimeGrid
from ratelike._types import Numbers

Time: TypeAlias = float | Float[Array, ""]  # s


class AbstractDrive(eqx.Module):
    """Anything that knows its increments on a grid: dX[n] = X(t_{n+1}) - X(t_n), of which the signal is dX/dt.

    A current or signal x(t), in units of the latents, has the increments x dt: under a constant x the potential of a
    neuron settles at bias + E x. Drives are added, subtracted and multiplied by numbers: `0.5 * drive + other`.
    """

    # A scalar or an array of NumPy on the left leaves the product to the drive.
    __array_ufunc__ = None

    @abc.abstractmethod
    def increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        """X(t_{n+1}) - X(t_n) of the steps of the grid, whose times are absolute: see `TimeGrid.first_step`."""

    def __add__(self, other: "AbstractDrive") -> "SumDrive":
        if not isinstance(other, AbstractDrive):
            return NotImplemented
        return SumDrive([self, other])

    def __sub__(self, other: "AbstractDrive") -> "SumDrive":
        if not isinstance(other, AbstractDrive):
            return NotImplemented
        return SumDrive([self, -other])

    def __neg__(self) -> "ScaledDrive":
        return ScaledDrive(self, -1.0)

    def __mul__(self, factor: Numbers) -> "ScaledDrive":
        return ScaledDrive(self, factor)

    def __rmul__(self, factor: Numbers) -> "ScaledDrive":
        return ScaledDrive(self, factor)


class SumDrive(AbstractDrive):
    """The sum of drives of equally many latents, which `drive + other` makes.

    Raises `ValueError` for what is not a list of drives, and, on a grid, for different numbers of latents.
    """

    drives: tuple[AbstractDrive, ...]

    def __init__(self, drives: Sequence[AbstractDrive]) -> None:
        self.drives = checked_drives("SumDrive.drives", drives)

    def increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        parts = [each.increments(grid) for each in self.drives]
        sizes = [each.shape[1] for each in parts]
        if len(set(sizes)) != 1:
            raise ValueError(
                f"SumDrive.drives must have equally many latents, got {sizes}"
            )
        dtype = np.result_type(*(each.dtype for each in parts))
        first, *others = (each.astype(dtype) for each in parts)
        for other in others:
            first = first + other
        return first


class ScaledDrive(AbstractDrive):
    """A drive times a number, or times one for each latent, which `factor * drive` makes.

    Raises `ValueError` for what is not a drive, and for a factor that is not finite or does not fit.
    """

    drive: AbstractDrive
    factor: Float[Array, "*#latents"]

    def __init__(self, drive: AbstractDrive, factor: Numbers) -> None:
        validation.instance("ScaledDrive.drive", drive, AbstractDrive)
        self.drive = drive
        self.factor = validation.parameter("ScaledDrive.factor", factor)
        if self.factor.ndim > 1:
            raise ValueError(
                f"ScaledDrive.factor must be a number, or one for each latent, got shape {self.factor.shape}"
            )

    def increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        increments = self.drive.increments(grid)
        if self.factor.ndim == 1:
            validation.shape("ScaledDrive.factor", self.factor, increments.shape[1:])
        factor = jnp.broadcast_to(self.factor, increments.shape[1:])
        return factor[None].astype(increments.dtype) * increments


def checked_drives(name: str, drives: Any) -> tuple[AbstractDrive, ...]:
    """At least one drive."""
    validation.instance(name, drives, Sequence)
    drives = tuple(drives)
    if not drives:
        raise ValueError(f"{name} must hold at least one drive, got none")
    for index, each in enumerate(drives):
        validation.instance(f"{name}[{index}]", each, AbstractDrive)
    return drives


class GridPath(diffrax.AbstractPath[Any]):
    """The piecewise linear path with given increments on a grid, as a diffrax path; times are those of the grid.

        drive = rl.GridPath(x * grid.dt, grid)      # a signal x (time, latents) that is held in each step of the grid

    Increments are those of a path X(t), the integral of the signal: x dt, not x. `SignalDrive` is for a table of x.
    A network takes a path in R^p, with increments (time, latents); the path itself may be of arrays of any shape.

    Raises `ValueError` for increments that are not numbers, or not one row for each step of the grid.
    """

    values: Float[Array, "time *shape"]  # increments
    grid: TimeGrid

    def __init__(self, values: Numbers, grid: TimeGrid) -> None:
        validation.instance("GridPath.grid", grid, TimeGrid)
        self.values = validation.signal("GridPath.values", values)
        if self.values.ndim < 2 or len(self.values) != grid.num_steps:
            raise ValueError(
                f"GridPath.values must have shape ({grid.num_steps}, latents), got shape {self.values.shape}"
            )
        self.grid = grid

    @property
    def t0(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return float(self.grid.times[0])

    @property
    def t1(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return float(self.grid.times[-1])

    def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        t0: Time,
        t1: Time | None = None,
        left: bool = True,
    ) -> Float[Array, "*shape"]:
        """The increment over an interval [t0, t1] within one grid step."""
        if t1 is None:
            raise ValueError(
                "GridPath.evaluate needs both ends of an interval: the path is known by its increments"
            )
        part = (t1 - t0) / self.grid.dt
        # t1 - t0 carries the rounding of both times; a whole step has to give its increment exactly.
        part = jnp.where(jnp.abs(part - 1.0) < 1e-2, 1.0, part)
        return self.values[self._step(0.5 * (t0 + t1))] * part

    def derivative(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, t: Time, left: bool = True
    ) -> Float[Array, "*shape"]:
        """The slope of the grid step that holds t (at a grid point, the step that begins there)."""
        return self.values[self._step(t + 1e-2 * self.grid.dt)] / self.grid.dt

    def _step(self, time: Time) -> Integer[Array, ""]:
        step = jnp.floor(time / self.grid.dt).astype(jnp.int32) - self.grid.first_step
        return jnp.clip(step, 0, self.grid.num_steps - 1)


class NoDrive(AbstractDrive):
    """No latents."""

    def increments(self, grid: TimeGrid) -> Float[Array, "time 0"]:
        return jnp.zeros((grid.num_steps, 0))


# What a network may be given as its input; None for one that takes no latents.
Input: TypeAlias = Numbers | diffrax.AbstractPath[Any] | AbstractDrive | None


def as_path(
    drive: Input,
    grid: TimeGrid,
    num_latents: int,
    dtype: DTypeLike,
) -> diffrax.AbstractPath[Any]:
    """The drive of a simulation as a diffrax path; increments are checked."""
    if isinstance(drive, diffrax.AbstractPath):
        return drive
    if drive is None:
        drive = NoDrive()
        if num_latents > 0:
            raise ValueError(
                f"increments must be given for the {num_latents} latents that the network takes, got None"
            )
    if isinstance(drive, AbstractDrive):
        drive = drive.increments(grid)
    if callable(drive):
        raise ValueError(
            "increments must be an array, a drive such as ratelike.WienerDrive(...) or a diffrax path, got "
            f"{validation.shown(drive)}"
        )
    if num_latents == 0 and getattr(drive, "shape", None) == (grid.num_steps, 0):
        drive = jnp.asarray(drive)  # nothing to check
    increments = validation.signal("increments", drive)
    validation.shape("increments", increments, (grid.num_steps, num_latents))
    return GridPath(increments.astype(dtype), grid)


def grid_increments(
    path: diffrax.AbstractPath[Any], grid: TimeGrid, dtype: DTypeLike
) -> Float[Array, "time *shape"]:
    """X(t_{n+1}) - X(t_n) of any diffrax path; of a `GridPath` in its own type."""
    if isinstance(path, GridPath):
        return path.values
    times = jnp.asarray(grid.times, dtype=dtype)
    return jax.vmap(path.evaluate)(times[:-1], times[1:]).astype(dtype)


def input_increments(
    drive: Input, grid: TimeGrid, num_latents: int, dtype: DTypeLike
) -> Float[Array, "time latents"]:
    """Increments of whatever a network may be given."""
    path = as_path(drive, grid, num_latents, dtype)
    return grid_increments(path, grid, dtype).astype(dtype)
