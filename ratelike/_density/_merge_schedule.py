"""The schedule of merging cohorts: which cohort each slot holds, and which two merge in each step."""

import functools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer


class MergeSchedule(eqx.Module):
    """When cohorts merge: once in every step, as the carry of a binary counter.

    A cohort of level l holds the neurons that last fired in 2^l successive steps, numbered j = 0, 1, ... from the
    beginning of time. It enters the bins (after its dead time, or by a merge) when its youngest neurons are `starts[l]`
    steps old. Cohorts 2i and 2i + 1 merge when the younger one reaches the age `starts[l + 1]`, an odd multiple of 2^l:
    level l merges in the steps t = 2^l mod 2^(l+1), and no two levels merge in the same step. Cohorts of the last level
    L merge into the last bin, one by one, in the remaining steps, t = 0 mod 2^L, at the last of `starts`.

    The younger cohort, in the slot `source`, joins the elder one, in the slot `target`; the cohort that enters next
    refills the source. One cohort enters and one disappears in every step: the number of slots never changes, and no
    slot is ever empty. After a period of 2^L steps the ages in the slots are those of its beginning, permuted. The
    slots are numbered such that this permutation turns *cycles* of successive slots by one.
    """

    memory: int = eqx.field(static=True)  # steps
    starts: tuple[int, ...] = eqx.field(static=True)  # steps, for each level; the end

    @property
    def num_levels(self) -> int:
        return len(self.starts) - 1

    @property
    def dead(self) -> int:
        """Steps after birth in which a cohort is not in the bins, because it cannot fire."""
        return self.starts[0]

    @property
    def num_bins(self) -> int:
        return len(_slot_cycles(self.starts).first)

    def ages(
        self, time: Integer[Array, "*steps"], dtype: DTypeLike
    ) -> tuple[Float[Array, "*steps bins"], Float[Array, "*steps bins"]]:
        """Mean age, and standard deviation of the ages, in each slot in the step `time`, in steps.

        As if time had begun long before 0. Of the last bin: the memory, and 0.
        """
        cycles, period = _slot_cycles(self.starts), self._period
        turns = (time // period)[..., None]
        slots = np.arange(self.num_bins, dtype=np.int32)
        positions = cycles.first + (slots - cycles.first - turns) % cycles.size
        phase = (time % period)[..., None]
        age = jnp.asarray(cycles.age, dtype)[phase, positions]
        is_last = slots == self.num_bins - 1
        age = jnp.where(is_last, self.memory, age)
        return age, jnp.asarray(cycles.deviation, dtype)[phase, positions]

    def ages_in_queue(
        self, time: Integer[Array, "*steps"], dtype: DTypeLike
    ) -> Float[Array, "*steps dead"]:
        """Ages within the dead time, in the order of the queue: a cohort born in the step t has the row t mod `dead`."""
        rows = np.arange(self.dead, dtype=np.int32)
        return ((time[..., None] - 1 - rows) % max(self.dead, 1)).astype(dtype)

    def merge(self, time: Integer[Array, "*steps"], dtype: DTypeLike) -> "Merge":
        """The merge at the end of the step before `time` >= 1."""
        cycles, period = _slot_cycles(self.starts), self._period
        turns, phase = jnp.divmod(time - 1, period)
        both = np.maximum(deviation(2 * cycles.width), 0.5)  # 0 where there are no bins

        def slot(positions: np.ndarray) -> Array:
            position = jnp.asarray(positions)[phase]
            first = jnp.asarray(cycles.first)[position]
            size = jnp.asarray(cycles.size)[position]
            return first + (position - first + turns) % size

        return Merge(
            step=time - 1,
            source=slot(cycles.source),
            target=slot(cycles.target),
            deviation=jnp.asarray(deviation(cycles.width) / both, dtype)[phase],
            distance=jnp.asarray(cycles.width / both, dtype)[phase],
        )

    @property
    def _period(self) -> int:
        return 2 ** (self.num_levels - 1)


class Merge(eqx.Module):
    """The cohort in the slot `source` joins the elder one in `target`, and another cohort refills the source."""

    step: Integer[Array, "*steps"]  # the merge is at the end of this step
    source: Integer[Array, "*steps"]
    target: Integer[Array, "*steps"]
    # In standard deviations of the ages in both together:
    deviation: Float[Array, "*steps"]  # that of either cohort
    distance: Float[Array, "*steps"]  # of their mean ages


class _SlotCycles(eqx.Module):
    """One period, by *position*: slot s has position s in the first period, and the position before it in the next.

    So in every period a position moves on to the next slot of its cycle.
    """

    first: np.ndarray  # (positions,); first slot of the position's cycle
    size: np.ndarray  # (positions,); length of the cycle
    age: np.ndarray  # (steps, positions); mean, in steps
    deviation: np.ndarray  # (steps, positions); standard, in steps
    source: np.ndarray  # (steps,) position
    target: np.ndarray  # (steps,) position
    width: np.ndarray  # (steps,); of the merging cohorts, in steps


@functools.lru_cache(maxsize=64)
def _slot_cycles(starts: tuple[int, ...]) -> _SlotCycles:
    num_levels = len(starts) - 1
    period = 2 ** (num_levels - 1)
    # The slot of each cohort (level, number), at first in any order.
    slots = {cohort: slot for slot, cohort in enumerate(_cohorts_at_0(starts))}
    before, last = dict(slots), len(slots)
    held, merges = np.zeros((period, last + 1, 2), int), np.zeros((period, 3), int)
    for time in range(period):
        for cohort, slot in slots.items():
            held[time, slot] = cohort
        if slots:
            merges[time] = _merge_once(slots, time + 1, starts, last)
    # From the slot of each age to the slot that has this age a period later.
    successor = np.arange(last + 1)
    for (level, number), slot in before.items():
        successor[slot] = slots[level, number + period // 2**level]
    cycles = _cycles(successor)
    number_of = np.empty(last + 1, np.int32)  # of each slot, along the cycles
    number_of[np.concatenate(cycles)] = np.arange(last + 1)
    sizes = [len(cycle) for cycle in cycles]
    held = held[:, np.concatenate(cycles)]
    level, number = held[..., 0], held[..., 1]
    width = 2.0**level
    age = np.arange(period)[:, None] - 1.0 - width * number - 0.5 * (width - 1.0)
    deviations = deviation(width)
    deviations[:, last] = 0.0
    return _SlotCycles(
        first=np.repeat(np.cumsum([0, *sizes[:-1]]), sizes).astype(np.int32),
        size=np.repeat(sizes, sizes).astype(np.int32),
        age=age,
        deviation=deviations,
        source=number_of[merges[:, 0]],
        target=number_of[merges[:, 1]],
        width=merges[:, 2],
    )


def _cohorts_at_0(starts: tuple[int, ...]) -> list[tuple[int, int]]:
    """All cohorts that have entered the bins by the time 0 and have not merged yet, the eldest first."""
    cohorts = []
    for level in range(len(starts) - 1):
        number = -starts[level] // 2**level - 1  # the newest
        while _end(level, number, starts) > 0:
            cohorts.append((level, number))
            number -= 1
    return cohorts[::-1]


def _end(level: int, number: int, starts: tuple[int, ...]) -> int:
    """The time at which a cohort merges with its neighbour or into the last bin."""
    width = 2**level
    if level < len(starts) - 2:
        width, number = 2 * width, number // 2
    return starts[level + 1] + (number + 1) * width


def _merge_once(
    slots: dict[tuple[int, int], int], time: int, starts: tuple[int, ...], last: int
) -> tuple[int, int, int]:
    """Carries out one step's merge in `slots`; returns source, target and the width of the cohorts."""
    level = 0
    while level < len(starts) - 2 and time % 2 ** (level + 1) == 0:
        level += 1
    width = 2**level
    number = (time - starts[level + 1]) // width - 1
    source, target = slots.pop((level, number)), last
    if level < len(starts) - 2:
        target = slots.pop((level, number - 1))
        slots[level + 1, number // 2] = target
    slots[0, time - 1 - starts[0]] = source
    return source, target, width


def _cycles(permutation: np.ndarray) -> list[list[int]]:
    """The cycles of a permutation; the fixed point at its end comes last."""
    cycles, seen = [], set()
    for start in range(len(permutation)):
        if start in seen:
            continue
        cycle = [start]
        while permutation[cycle[-1]] != start:
            cycle.append(int(permutation[cycle[-1]]))
        seen.update(cycle)
        cycles.append(cycle)
    return cycles


def deviation(width: np.ndarray) -> np.ndarray:
    """The standard deviation of `width` successive integers."""
    return np.sqrt(np.maximum(width**2 - 1.0, 0.0) / 12.0)
