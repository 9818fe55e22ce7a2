"""External input: paths X(t) in R^p, known by their increments on a grid."""

import abc
from typing import Any, TypeAlias, cast

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
from ratelike._validation import _plausibility as plausibility

Time: TypeAlias = float | Float[Array, ""]  # s


class AbstractDrive(eqx.Module):
    """Anything that knows its increments on a grid."""

    @abc.abstractmethod
    def increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        """X(t_{n+1}) - X(t_n)."""


class WienerDrive(AbstractDrive):
    r"""White-noise input: X(t) = sqrt(2 tau_m) W(t), so that kappa * dX has variance 1.

    W is a standard Wiener process from diffrax's virtual Brownian tree, one tree for each second of time. The path
    depends on the key alone: halving dt refines the *same* path, and a longer run extends it.

    `tau_m` is in seconds. `resolution` (seconds) is where the trees stop; time steps have to be at least twice that.

    Raises `ValueError` for `num_latents` < 1, `tau_m` <= 0, a missing or raw key, or a time step outside
    [2 `resolution`, 1 s].
    """

    num_latents: int = eqx.field(static=True)
    tau_m: Float[Array, ""]
    key: Array
    resolution: float = eqx.field(static=True)

    def __init__(
        self,
        num_latents: int,
        *,
        tau_m: Numbers = 10e-3,
        key: Array,
        resolution: float = 2.0**-16,
    ) -> None:
        self.num_latents = validation.count("WienerDrive.num_latents", num_latents)
        self.tau_m = plausibility.time_constant("WienerDrive.tau_m", tau_m, ())
        self.key = validation.typed_key("WienerDrive.key", key)
        self.resolution = validation.number(
            "WienerDrive.resolution", resolution, above=0.0
        )

    def increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        if not 2.0 * self.resolution <= grid.dt <= 1.0:
            raise ValueError(
                f"TimeGrid.dt must be between twice WienerDrive.resolution = {self.resolution:g} s and 1 s, "
                f"got {grid.dt:g} s"
            )
        return self._increments(grid)

    @eqx.filter_jit  # the tree takes seconds to compile: once for all drives of a kind
    def _increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        dtype = self.tau_m.dtype
        # Seconds are split off in float64, on the host, so that grids of different dt agree where they meet.
        second = np.floor(grid.times + 1e-9).astype(np.int32)
        within = np.maximum(grid.times - second, 0.0)
        # Where a step ends in the next second, it takes what was left of the previous one.
        crossing = np.flatnonzero(second[1:] != second[:-1])
        values = jax.vmap(self._within_second)(
            jnp.asarray(np.append(second, second[crossing])),
            jnp.asarray(np.append(within, np.ones(len(crossing))), dtype),
        )
        values, ends = jnp.split(values, [len(second)])
        change = (values[1:] - values[:-1]).at[crossing].add(ends)
        return jnp.sqrt(2.0 * self.tau_m) * change

    def _within_second(
        self, second: Integer[Array, ""], time: Float[Array, ""]
    ) -> Float[Array, " latents"]:
        """W(second + time) - W(second)."""
        tree = diffrax.VirtualBrownianTree(
            0.0,
            1.0,
            tol=self.resolution,
            shape=jax.ShapeDtypeStruct((self.num_latents,), self.tau_m.dtype),
            key=jax.random.fold_in(self.key, second),
        )
        return cast(Array, tree.evaluate(time))


class GridPath(diffrax.AbstractPath[Any]):
    """The piecewise linear path with given increments on a grid, as a diffrax path.

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
        return 0.0

    @property
    def t1(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.grid.duration

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
        step = jnp.floor(time / self.grid.dt).astype(jnp.int32)
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
