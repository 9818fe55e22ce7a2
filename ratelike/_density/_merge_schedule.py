"""The calendar of merging cohorts: which slots hold what, and which two become one in which step."""

import functools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer


class MergeSchedule(eqx.Module):
    """When cohorts merge: one event per step, as the carry of a binary counter.

    A cohort of level l holds the neurons born (that is, last fired) in 2^l successive steps, numbered j = 0, 1, ...
    from the beginning of time. It comes to the bins (by birth and after its dead time, or by a merger) when its youngest
    are `starts[l]` steps old. Cohorts 2i and 2i + 1 merge when the younger comes to the age `starts[l + 1]`, an odd
    multiple of 2^l: so level l merges in the steps t = 2^l mod 2^(l+1), and no two levels in the same step. Those of the
    last level L retire into the last bin, one by one, in the steps that are left, t = 0 mod 2^L, at the last of `starts`.

    So as many cohorts are born as disappear: the number of slots never changes, and none is ever empty. Whatever
    merges stays in the elder cohort's slot, and who comes next takes that of the younger one. After a `period` all is as
    before but for a permutation of the slots. They are numbered such that it turns *rings* of successive slots by one.
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
        return len(_rings(self.starts).first)

    def ages(
        self, time: Integer[Array, "*steps"], dtype
    ) -> tuple[Float[Array, "*steps bins"], Float[Array, "*steps bins"]]:
        """Mean age, and standard deviation of the ages, in each slot in the step `time`, in steps.

        As if time had begun long before 0. Of the last bin: the memory, and 0.
        """
        rings, period = _rings(self.starts), self._period
        turns = (time // period)[..., None]
        slots = np.arange(self.num_bins, dtype=np.int32)
        roles = rings.first + (slots - rings.first - turns) % rings.size
        phase = (time % period)[..., None]
        age = jnp.asarray(rings.age, dtype)[phase, roles]
        is_last = slots == self.num_bins - 1
        age = jnp.where(is_last, self.memory, age)
        return age, jnp.asarray(rings.deviation, dtype)[phase, roles]

    def ages_of_dead(
        self, time: Integer[Array, "*steps"], dtype
    ) -> Float[Array, "*steps dead"]:
        """In the order in which they are kept: those born in the step t in row t mod `dead`."""
        rows = np.arange(self.dead, dtype=np.int32)
        return ((time[..., None] - 1 - rows) % max(self.dead, 1)).astype(dtype)

    def event(self, time: Integer[Array, "*steps"], dtype) -> "Event":
        """What happens at the end of the step before `time` >= 1."""
        rings, period = _rings(self.starts), self._period
        turns, phase = jnp.divmod(time - 1, period)
        both = np.maximum(deviation(2 * rings.width), 0.5)  # 0 where there are no bins

        def slot(roles: np.ndarray) -> Array:
            role = jnp.asarray(roles)[phase]
            first, size = jnp.asarray(rings.first)[role], jnp.asarray(rings.size)[role]
            return first + (role - first + turns) % size

        return Event(
            step=time - 1,
            younger=slot(rings.younger),
            elder=slot(rings.elder),
            deviation=jnp.asarray(deviation(rings.width) / both, dtype)[phase],
            distance=jnp.asarray(rings.width / both, dtype)[phase],
        )

    @property
    def _period(self) -> int:
        return 2 ** (self.num_levels - 1)


class Event(eqx.Module):
    """The cohort in the slot `younger` joins the one in `elder`, and another takes its place."""

    step: Integer[Array, "*steps"]  # at the end of which that happens
    younger: Integer[Array, "*steps"]
    elder: Integer[Array, "*steps"]
    # In standard deviations of the ages in both together:
    deviation: Float[Array, "*steps"]  # that of either cohort
    distance: Float[Array, "*steps"]  # of their mean ages


class _Rings(eqx.Module):
    """A period from time 0 on, in *roles*: a slot has the role of its own number until then, from then on another.

    In every period a role is handed on to the next slot of its ring.
    """

    first: np.ndarray  # for each role, the first slot of its ring
    size: np.ndarray  # and how many there are
    age: np.ndarray  # (steps, roles); mean, in steps
    deviation: np.ndarray  # (steps, roles); standard, in steps
    younger: np.ndarray  # (steps,) role
    elder: np.ndarray  # (steps,) role
    width: np.ndarray  # (steps,)


@functools.lru_cache(maxsize=64)
def _rings(starts: tuple[int, ...]) -> _Rings:
    num_levels = len(starts) - 1
    period = 2 ** (num_levels - 1)
    # The slot of each cohort (level, number), at first in any order.
    slots = {cohort: slot for slot, cohort in enumerate(_alive_at_0(starts))}
    before, last = dict(slots), len(slots)
    held, events = np.zeros((period, last + 1, 2), int), np.zeros((period, 3), int)
    for time in range(period):
        for cohort, slot in slots.items():
            held[time, slot] = cohort
        if slots:
            events[time] = _move_on(slots, time + 1, starts, last)
    # Who is where a period later, and who was in that role before.
    successor = np.arange(last + 1)
    for (level, number), slot in before.items():
        successor[slot] = slots[level, number + period // 2**level]
    rings = _cycles(successor)
    number_of = np.empty(last + 1, np.int32)  # of each slot, along the rings
    number_of[np.concatenate(rings)] = np.arange(last + 1)
    sizes = [len(ring) for ring in rings]
    held = held[:, np.concatenate(rings)]
    level, number = held[..., 0], held[..., 1]
    width = 2.0**level
    age = np.arange(period)[:, None] - 1.0 - width * number - 0.5 * (width - 1.0)
    deviations = deviation(width)
    deviations[:, last] = 0.0
    return _Rings(
        first=np.repeat(np.cumsum([0, *sizes[:-1]]), sizes).astype(np.int32),
        size=np.repeat(sizes, sizes).astype(np.int32),
        age=age,
        deviation=deviations,
        younger=number_of[events[:, 0]],
        elder=number_of[events[:, 1]],
        width=events[:, 2],
    )


def _alive_at_0(starts: tuple[int, ...]) -> list[tuple[int, int]]:
    """All cohorts that have come by the time 0 and are not yet merged, the eldest first."""
    alive = []
    for level in range(len(starts) - 1):
        number = -starts[level] // 2**level - 1  # the newest
        while _end(level, number, starts) > 0:
            alive.append((level, number))
            number -= 1
    return alive[::-1]


def _end(level: int, number: int, starts: tuple[int, ...]) -> int:
    """The time at which a cohort merges or retires."""
    width = 2**level
    if level < len(starts) - 2:
        width, number = 2 * width, number // 2
    return starts[level + 1] + (number + 1) * width


def _move_on(
    slots: dict[tuple[int, int], int], time: int, starts: tuple[int, ...], last: int
) -> tuple[int, int, int]:
    """Carries out the event of one step in `slots`; its slots, the younger first, and the width of the cohorts."""
    level = 0
    while level < len(starts) - 2 and time % 2 ** (level + 1) == 0:
        level += 1
    width = 2**level
    number = (time - starts[level + 1]) // width - 1
    younger, elder = slots.pop((level, number)), last
    if level < len(starts) - 2:
        elder = slots.pop((level, number - 1))
        slots[level + 1, number // 2] = elder
    slots[0, time - 1 - starts[0]] = younger
    return younger, elder, width


def _cycles(successor: np.ndarray) -> list[list[int]]:
    """Of a permutation; that of its last member, which stays, comes last."""
    cycles, seen = [], set()
    for start in range(len(successor)):
        if start in seen:
            continue
        cycle = [start]
        while successor[cycle[-1]] != start:
            cycle.append(int(successor[cycle[-1]]))
        seen.update(cycle)
        cycles.append(cycle)
    return cycles


def deviation(width: np.ndarray) -> np.ndarray:
    """The standard deviation of `width` successive integers."""
    return np.sqrt(np.maximum(width**2 - 1.0, 0.0) / 12.0)
