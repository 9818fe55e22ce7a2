"""Coloured noise: one Ornstein-Uhlenbeck path at every time step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Shaped

from ratelike import _validation as validation
from ratelike._numerics._platform import WHOLE_VECTORS
from ratelike._signal._drive import AbstractDrive
from ratelike._signal._drives._bisection import (
    HalvingLaw,
    Interval,
    halved,
    halving_law,
    whole_interval,
)
from ratelike._signal._grid import TimeGrid
from ratelike._types import Numbers
from ratelike._validation import _plausibility as plausibility

# Halvings from all time to one second, and from a second to the shortest interval.
LONG, SHORT = 20, 16
# Seconds.
SHORTEST_TAU, LONGEST_TAU, LONGEST_STEP = 1e-6, 1e4, 0.5
# A longer time constant was probably meant in milliseconds.
SLOW = 5.0


class OrnsteinUhlenbeckDrive(AbstractDrive):
    r"""Coloured noise: x(t) is a stationary Ornstein-Uhlenbeck process in units of the latents, dX[n] = int x dt over step n.

        tau dx = -x dt + std sqrt(2 tau) dW,      <x(s) x(t)> = std^2 exp(-|t - s|/tau)

        drive = rl.OrnsteinUhlenbeckDrive(3, tau=50e-3, std=1.0, key=key)

    Latents are independent. `tau` is in seconds and static; `std` is the standard deviation of x, one number or one for each
    latent. Behind a membrane, kappa * dX has the variance std^2 tau/(tau + tau_m).

    The path depends on the key and `tau` alone: another time step is the *same* path on another grid, and a longer run
    extends it. An interval of 2^20 s is halved, by the exact law of the halves given x at its ends and its mean (Gaussian;
    in the manner of the Brownian tree of diffrax), down to 2^-16 s = 15 microseconds. The law of dX is exact where the times
    of the grid are multiples of that; between them x is taken for constant, which is an error of dX of
    10^-5 std sqrt(2^-16 s/tau) s at most.

    Raises `ValueError` for `num_latents` < 1, unless 10^-6 s <= `tau` <= 10^4 s, `std` <= 0, a missing or raw key, and, on a
    grid, a time step outside [2^-15 s, 0.5 s] or times beyond 2^20 s (12 days).
    """

    num_latents: int = eqx.field(static=True)
    tau: float = eqx.field(static=True)
    std: Float[Array, "*#latents"]
    key: Array

    def __init__(
        self, num_latents: int, *, tau: float, std: Numbers, key: Array
    ) -> None:
        name = "OrnsteinUhlenbeckDrive"
        self.num_latents = validation.count(f"{name}.num_latents", num_latents)
        self.tau = validation.number(f"{name}.tau", tau, above=0.0)
        if not SHORTEST_TAU <= self.tau <= LONGEST_TAU:
            raise ValueError(
                f"{name}.tau must be from {SHORTEST_TAU:g} s to {LONGEST_TAU:g} s, got {self.tau:g} s"
            )
        plausibility.warn_of_milliseconds(f"{name}.tau", self.tau, SLOW)
        self.std = validation.parameter(f"{name}.std", std, above=0.0)
        if self.std.ndim != 0:
            validation.shape(f"{name}.std", self.std, (self.num_latents,))
        self.key = validation.typed_key(f"{name}.key", key)

    def increments(self, grid: TimeGrid) -> Float[Array, "time latents"]:
        shortest, end = 2.0**-SHORT, float(grid.times[-1])
        if not 2.0 * shortest <= grid.dt <= LONGEST_STEP or end >= 2.0**LONG:
            raise ValueError(
                f"TimeGrid must have steps from {2.0 * shortest:g} s to {LONGEST_STEP:g} s and end before {2.0**LONG:g} s "
                f"for OrnsteinUhlenbeckDrive, got steps of {grid.dt:g} s and an end at {end:g} s"
            )
        times = np.pad(grid.times, (0, -len(grid.times) % WHOLE_VECTORS), mode="edge")
        leaf = np.floor(times / shortest).astype(np.int64)
        part = times / shortest - leaf  # of the last interval
        # x is integrated from the beginning of blocks that are just longer than a step, so that nothing cancels.
        level = int(np.floor(-np.log2(grid.dt * (1.0 + 1e-9))))
        block = leaf >> (SHORT - level)
        # As many seconds as there can be in so long a grid, so that a later piece of a run compiles nothing.
        seconds = leaf[0] // 2**SHORT + np.arange(int(grid.duration) + 3)
        seconds = np.pad(seconds, (0, -len(seconds) % WHOLE_VECTORS), mode="edge")
        seconds = np.minimum(seconds, 2**LONG - 1)
        dtype = np.dtype(self.std.dtype)
        longest = 2.0**LONG / self.tau
        change = _changes(
            whole_interval(longest, self.num_latents, self.key, dtype),
            _laws(longest, dtype),
            jnp.asarray(_bits(seconds, LONG)),
            jnp.asarray(leaf // 2**SHORT - seconds[0], jnp.int32),
            jnp.asarray(_bits(leaf, SHORT)),
            jnp.asarray(part, dtype),
            jnp.asarray(block[1:] != block[:-1]),
            jnp.asarray(level, jnp.int32),
        )
        return (
            jnp.broadcast_to(self.std, (self.num_latents,))[None]
            * change[: grid.num_steps]
        )


def _laws(longest: float, dtype: np.dtype) -> HalvingLaw:
    """Of all levels, stacked."""
    laws = [halving_law(longest / 2.0**level) for level in range(LONG + SHORT)]
    slopes, noise = (
        jnp.asarray(np.stack(each), dtype) for each in zip(*laws, strict=True)
    )
    return HalvingLaw(slopes, noise)


def _bits(
    numbers: Integer[np.ndarray, " numbers"], count: int
) -> Bool[np.ndarray, "bits numbers"]:
    """The last `count` binary digits, the largest first: which halves lead to an interval of that number."""
    shifts = np.arange(count - 1, -1, -1)[:, None]
    return (numbers[None] >> shifts) % 2 == 1


@eqx.filter_jit  # once for all grids of a length
def _changes(
    whole: Interval,
    laws: HalvingLaw,
    to_seconds: Bool[Array, "long seconds"],
    second: Integer[Array, " ends"],
    within: Bool[Array, "short ends"],
    part: Float[Array, " ends"],
    crossing: Bool[Array, " time"],
    level: Integer[Array, ""],
) -> Float[Array, "time latents"]:
    """int x dt over each step, for variance 1; blocks are the intervals of 2^-`level` s."""

    def to_second(halves: Bool[Array, " long"]) -> Interval:
        def halve(
            interval: Interval, xs: tuple[HalvingLaw, Array]
        ) -> tuple[Interval, None]:
            law, second = xs
            return halved(interval, law, second)[0], None

        return jax.lax.scan(halve, whole, (_of_levels(laws, 0, LONG), halves))[0]

    def to_time(
        interval: Interval, halves: Bool[Array, " short"], part: Float[Array, ""]
    ) -> tuple[Shaped[Array, " latents"], Shaped[Array, " latents"]]:
        """int x dt from the beginning of the block to a time, and over the whole block."""

        def halve(
            carry: tuple[Interval, Array, Array], xs: tuple[Array, HalvingLaw, Array]
        ) -> tuple[tuple[Interval, Array, Array], None]:
            interval, passed, total = carry
            number, law, second = xs
            length = jnp.exp2(-number.astype(passed.dtype))
            total = jnp.where(number == level, length * interval.mean, total)
            interval, mean = halved(interval, law, second)
            beyond = second & (number >= level)
            passed = passed + jnp.where(beyond, 0.5 * length * mean, 0.0)
            return (interval, passed, total), None

        zero = jnp.zeros_like(interval.mean)
        numbers = jnp.arange(SHORT, dtype=jnp.int32)
        xs = numbers, _of_levels(laws, LONG, LONG + SHORT), halves
        (interval, passed, total), _ = jax.lax.scan(halve, (interval, zero, zero), xs)
        return passed + 2.0**-SHORT * part * interval.mean, total

    seconds = jax.vmap(to_second, in_axes=1)(to_seconds)
    of_ends = jax.tree.map(lambda leaf: leaf[second], seconds)
    passed, total = jax.vmap(to_time, in_axes=(0, 1, 0))(of_ends, within, part)
    before = jnp.where(crossing[:, None], total[:-1], 0.0) - passed[:-1]
    return before + passed[1:]


def _of_levels(laws: HalvingLaw, first: int, end: int) -> HalvingLaw:
    return HalvingLaw(laws.slopes[first:end], laws.noise[first:end])
