"""White noise: one Wiener path at every time step."""

from typing import cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._numerics._platform import WHOLE_VECTORS
from ratelike._signal._drive import AbstractDrive
from ratelike._signal._grid import TimeGrid
from ratelike._types import Numbers
from ratelike._validation import _plausibility as plausibility


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
        # Seconds are split off in float64, on the host, so that grids of different dt agree where they meet.
        second = np.floor(grid.times + 1e-9).astype(np.int32)
        within = np.maximum(grid.times - second, 0.0)
        # Where a step ends in the next second, it takes what was left of the previous one. As many places as there can be
        # in so long a grid, so that a later piece of a run compiles nothing: the others lie beyond its end.
        places = int(grid.duration + 1e-6) + 2
        places += -(len(second) + places) % WHOLE_VECTORS
        crossing = np.full(places, grid.num_steps, np.int32)
        steps = np.flatnonzero(second[1:] != second[:-1])
        crossing[: len(steps)] = steps
        return self._increments(
            jnp.asarray(second),
            jnp.asarray(within, self.tau_m.dtype),
            jnp.asarray(crossing),
        )

    @eqx.filter_jit  # the tree takes seconds to compile: once for all drives of a kind
    def _increments(
        self,
        second: Integer[Array, " ends"],
        within: Float[Array, " ends"],
        crossing: Integer[Array, " crossings"],
    ) -> Float[Array, "time latents"]:
        values = jax.vmap(self._within_second)(
            jnp.append(second, second[crossing]),
            jnp.append(within, jnp.ones(len(crossing), within.dtype)),
        )
        values, ends = jnp.split(values, [len(second)])
        change = (values[1:] - values[:-1]).at[crossing].add(ends, mode="drop")
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
