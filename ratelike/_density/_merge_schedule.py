"""The calendar of merging cohorts: which slots hold what, and which two become one in which step."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer


class MergeSchedule(eqx.Module):
    """When cohorts merge: one event per step, as the carry of a binary counter.

    A cohort of level l holds the neurons born (that is, last fired) in 2^l successive steps, numbered j = 0, 1, ...
    from the beginning of time. Cohorts 2i and 2i + 1 merge when the younger comes to the age `merge_ages[l]`, an odd
    multiple of 2^l: so level l merges in the steps t = 2^l mod 2^(l+1), and no two levels in the same step. Each level
    keeps its cohorts in a ring of slots; the last slot of all is the last bin.
    """

    memory: int = eqx.field(static=True)  # steps
    merge_ages: tuple[int, ...] = eqx.field(static=True)  # steps, for each level
    final_age: int = eqx.field(static=True)  # steps, when the last level retires

    @property
    def num_levels(self) -> int:
        return len(self.merge_ages) + 1

    @property
    def _created_at(self) -> np.ndarray:
        """Age of the youngest member when a cohort of each level comes into being."""
        return np.array([0, *self.merge_ages])

    @property
    def ring_sizes(self) -> np.ndarray:
        """Slots of each level: as many cohorts as live at one time."""
        if self.memory == 0:
            return np.zeros(1, dtype=int)
        widths = 2 ** np.arange(self.num_levels)
        lifetimes = np.array([*self.merge_ages, self.final_age]) - self._created_at
        lifetimes[:-1] += widths[:-1]  # the elder of a pair waits for the younger
        return -(-lifetimes // widths)

    @property
    def num_bins(self) -> int:
        return int(self.ring_sizes.sum()) + 1

    def ages(
        self, time: Integer[Array, "*steps"], dtype
    ) -> Float[Array, "*steps bins"]:
        """Mean age in steps of what each slot holds in the step `time`, as if time had begun long before 0.

        Of a slot that is empty just then, the age that its last cohort would have.
        """
        level = np.repeat(np.arange(self.num_levels), self.ring_sizes)
        slot = np.concatenate([np.arange(size) for size in self.ring_sizes])
        constants = (slot, 2**level, self.ring_sizes[level], self._created_at[level])
        slot, width, size, created_at = (x.astype(np.int32) for x in constants)
        newest = (time[..., None] - created_at) // width - 1
        number = newest - (newest - slot) % size
        oldest = time[..., None] - 1 - number * width
        age = oldest.astype(dtype) - 0.5 * (width - 1).astype(dtype)
        last = jnp.full((*time.shape, 1), self.memory, dtype)
        return jnp.concatenate([age, last], axis=-1)

    def spreads(self) -> np.ndarray:
        """Standard deviation of the ages in each slot, in steps."""
        widths = np.repeat(2.0 ** np.arange(self.num_levels), self.ring_sizes)
        return np.append(spread(widths), 0.0)

    def event(self, time: Integer[Array, "*steps"]) -> "Event":
        """What happens at the end of the step before `time` >= 1."""
        widths = np.int32(2) ** np.arange(self.num_levels, dtype=np.int32)
        sizes = np.maximum(self.ring_sizes, 1).astype(np.int32)
        first = np.concatenate([[0], np.cumsum(self.ring_sizes)[:-1]]).astype(np.int32)
        ages = np.array([*self.merge_ages, self.final_age], dtype=np.int32)
        # The level is the number of zeros at the end of `time` in binary.
        level = sum(
            [(time % int(width) == 0).astype(jnp.int32) for width in widths[1:]],
            start=jnp.zeros_like(time),
        )

        def of_level(table: np.ndarray) -> Array:
            return jnp.asarray(table)[level]

        def slot(number: Array, table_first: np.ndarray, table_sizes: np.ndarray):
            return of_level(table_first) + number % of_level(table_sizes)

        retires = level == self.num_levels - 1
        width = of_level(widths)
        newest = (time - of_level(ages)) // width - 1  # the younger of the pair
        pair = newest // 2
        above = np.append(first[1:], self.num_bins - 1).astype(np.int32)
        sizes_above = np.append(sizes[1:], 1).astype(np.int32)
        return Event(
            younger=slot(newest, first, sizes),
            elder=slot(newest - 1, first, sizes),
            retires=retires,
            target=slot(pair, above, sizes_above),
            birth=(time - 1) % int(sizes[0]),
            width=width,
        )


class Event(eqx.Module):
    """Slots: `younger` and `elder` merge into `target`, or `younger` alone retires into the last bin."""

    younger: Integer[Array, "*steps"]
    elder: Integer[Array, "*steps"]
    retires: Bool[Array, "*steps"]
    target: Integer[Array, "*steps"]
    birth: Integer[Array, "*steps"]  # where the newborn go
    width: Integer[Array, "*steps"]  # steps of birth that either cohort holds


def spread(width):
    """The standard deviation of `width` successive integers."""
    return ((width**2 - 1.0) / 12.0) ** 0.5
