"""Cohorts of age: which neurons share an age bin, and when two bins become one."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer

from ratelike import _validation as validation
from ratelike._neuron import AbstractNeuron
from ratelike._neuron._history import expected_neuron, faded, newborn, no_trace


class AgeMesh(eqx.Module):
    r"""How finely the age since the last spike is resolved.

    The neurons that fired in one step form a *cohort*, which ages along the characteristic without any error. A
    `uniform` mesh keeps every cohort until it is as old as the memory: the density is exact on the grid. A `graded`
    mesh merges neighbouring cohorts as they age, two of width w into one of width 2 w: where the hazard depends steeply
    on age bins are narrow, where it is nearly flat, or where nobody fires anyway, they are wide. A merged cohort has the
    hazard that its members have on average (two-point Gauss quadrature over their ages). The error is of second order
    in the widths; probability is conserved and never negative; there is no numerical diffusion, because nothing flows
    between bins but whole cohorts.
    """

    widths: tuple[float, ...] | None = eqx.field(static=True)  # s, at equal ages

    @classmethod
    def uniform(cls) -> "AgeMesh":
        """One bin per step of age: exact."""
        return cls(None)

    @classmethod
    def graded(
        cls,
        neuron: AbstractNeuron,
        tolerance: float = 1e-3,
        *,
        potential: float = 2.0,
    ) -> "AgeMesh":
        r"""Bins as wide as the neuron allows: w(a)^2 max_{a' >= a} |d rho/d a'| S(a') <= 10 `tolerance`.

        rho is the hazard and S the survivor function at a constant input potential, `potential`: a high one, at which
        intervals are short. `tolerance` is about the relative error of the output of one layer: for the default neuron,
        in a relay network at dt = 0.5 ms, 10^-3 gave 8 10^-4 with 44 bins instead of 201.

        Raises `ValueError` unless `tolerance` > 0 and the neuron is concrete (not being traced).
        """
        validation.instance("AgeMesh.neuron", neuron, AbstractNeuron)
        tolerance = validation.number("AgeMesh.tolerance", tolerance, above=0.0)
        potential = validation.number("AgeMesh.potential", potential)
        if not validation.is_concrete(neuron):
            raise ValueError(
                "AgeMesh.neuron must be concrete: make the mesh outside jit"
            )
        if neuron.memory == 0.0:
            return cls.uniform()
        steepness = _steepness(neuron, potential).reshape(POINTS, -1).max(axis=1)
        steepest_later = np.maximum.accumulate(steepness[::-1])[::-1]
        allowed = np.sqrt(10.0 * tolerance / np.maximum(steepest_later, 1e-30))
        age = np.linspace(0.0, neuron.memory, POINTS)
        # Cohorts that straddle the end of the dead time would fire too early.
        longest = float(np.max(np.asarray(neuron.dead_time)))
        allowed = np.where(age <= longest, 0.0, np.minimum(allowed, neuron.memory))
        return cls(tuple(float(width) for width in allowed))

    def schedule(self, memory: int, dt: float) -> "MergeSchedule":
        """For a memory of so many steps of `dt` seconds."""
        merge_ages: list[int] = []
        width = 2  # of the cohorts that a merger makes, in steps
        while self.widths is not None:
            wide_enough = np.flatnonzero(np.asarray(self.widths) >= width * dt)
            if len(wide_enough) == 0:
                break
            age = int(np.ceil(wide_enough[0] * memory / (POINTS - 1)))
            # Both cohorts have to be there, and levels take turns: an odd multiple of half the width.
            age = max(age, merge_ages[-1] + width // 2 if merge_ages else 1)
            age += (width // 2 - age) % width
            if age + 2 * width > memory:
                break
            merge_ages.append(age)
            width *= 2
        width //= 2
        # Cohorts of the last level join the last bin when their mean age comes to the memory.
        final = width * -(-(2 * memory - width + 1) // (2 * width))
        return MergeSchedule(memory, tuple(merge_ages), max(final, 0))


# Ages at which the allowed width is kept.
POINTS = 201


def _steepness(neuron: AbstractNeuron, potential: float) -> np.ndarray:
    """|d rho/da| S(a) in Hz^2, for each neuron."""
    ages = jnp.linspace(0.0, neuron.memory, POINTS)[:, None]
    h = jnp.asarray(potential, ages.dtype)
    neuron = expected_neuron(neuron)
    mark, _ = newborn(neuron, h, no_trace(neuron, h), jnp.zeros_like(h), 0.0)
    rho = neuron.hazard(h, ages, faded(neuron, mark, ages))
    rho = np.asarray(jnp.broadcast_to(rho, jnp.broadcast_shapes(rho.shape, ages.shape)))
    age = np.asarray(ages)
    step = neuron.memory / (POINTS - 1)
    alive = age >= np.asarray(neuron.dead_time)
    survivors = np.exp(-np.cumsum(np.where(alive, rho, 0.0), axis=0) * step)
    return np.abs(np.gradient(rho, step, axis=0)) * survivors


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

    def spreads(self) -> np.ndarray:
        """Standard deviation of the ages in each slot, in steps: of 2^l equally spaced ones."""
        widths = np.repeat(2.0 ** np.arange(self.num_levels), self.ring_sizes)
        return np.append(np.sqrt((widths**2 - 1.0) / 12.0), 0.0)

    def initial_ages(self) -> np.ndarray:
        """Mean age in steps of what each slot holds at step 0, as if time had begun long before."""
        ages = []
        for level, size in enumerate(self.ring_sizes):
            width = 2**level
            newest = -self._created_at[level] // width - 1
            number = newest - (newest - np.arange(size)) % size
            ages.append(-1 - number * width - (width - 1) / 2)
        return np.concatenate([*ages, [self.memory]])

    def event(self, time: Integer[Array, ""]) -> "Event":
        """What happens at the end of the step before `time` >= 1."""
        widths = np.int32(2) ** np.arange(self.num_levels, dtype=np.int32)
        sizes = np.maximum(self.ring_sizes, 1).astype(np.int32)
        first = np.concatenate([[0], np.cumsum(self.ring_sizes)[:-1]]).astype(np.int32)
        ages = np.array([*self.merge_ages, self.final_age], dtype=np.int32)
        # The level is the number of zeros at the end of `time` in binary.
        level = sum(
            [(time % int(width) == 0).astype(jnp.int32) for width in widths[1:]],
            start=jnp.zeros((), jnp.int32),
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
        )


class Event(eqx.Module):
    """Slots: `younger` and `elder` merge into `target`, or `younger` alone retires into the last bin."""

    younger: Integer[Array, ""]
    elder: Integer[Array, ""]
    retires: Integer[Array, ""]
    target: Integer[Array, ""]
    birth: Integer[Array, ""]  # where the newborn go
