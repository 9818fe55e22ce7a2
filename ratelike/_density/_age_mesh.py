"""Cohorts of age: which neurons share an age bin, and when two bins become one."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ratelike import _validation as validation
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._neuron import AbstractNeuron, dead_steps
from ratelike._neuron._history import expected_neuron, faded, newborn, no_trace
from ratelike._renewal import oldest_age


class AgeMesh(eqx.Module):
    r"""How finely the age since the last spike is resolved.

    The neurons that fired in one step form a *cohort*, which ages along the characteristic without any error. A
    `uniform` mesh keeps every cohort until it is as old as the memory: the density is exact on the grid. A `graded`
    mesh merges neighbouring cohorts as they age, two of width w into one of width 2 w: where the hazard depends steeply
    on age bins are narrow, where it is nearly flat, or where nobody fires anyway, they are wide. Of a merged cohort the
    mean age of its members is kept for each neuron, by the part of them that is at the elder of two ages (two-point
    Gauss quadrature), and changes as the elder ones fire first. The error is of fourth order in the widths (of second
    order where neurons carry marks); probability is conserved and never negative; there is no numerical diffusion,
    because nothing flows between bins but whole cohorts.
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
        r"""Bins as wide as the neuron allows: w(a)^2 max_{a' >= a} |d rho/d a'| S(a') <= sqrt(20 `tolerance`).

        With a neuron that keeps a mark of its last spike (`LIF`), 50 `tolerance` if that is less: of marks only the mean
        in each cohort is kept, which is of second order.

        rho is the hazard and S the survivor function at a constant input potential, `potential`: a high one, at which
        intervals are short. `tolerance` is about the relative error of the output of one layer: for the default neuron,
        in a relay network at dt = 0.5 ms, 10^-3 gave 3 10^-4 with 16 bins instead of 201.

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
        bound = np.sqrt(20.0 * tolerance)
        if expected_neuron(neuron).mark(jnp.zeros(())) is not None:
            bound = min(bound, 50.0 * tolerance)
        squared = bound / np.maximum(steepest_later, 1e-30)
        allowed, age = np.sqrt(squared), np.linspace(0.0, neuron.memory, POINTS)
        # Cohorts that straddle the end of the dead time would fire too early.
        longest = float(np.max(np.asarray(neuron.dead_time)))
        allowed = np.where(age <= longest, 0.0, np.minimum(allowed, neuron.memory))
        return cls(tuple(float(width) for width in allowed))

    def schedule_of(self, neuron: AbstractNeuron, dt: float) -> MergeSchedule:
        """For the memory and the shortest dead time of a neuron."""
        return self.schedule(oldest_age(neuron, dt), dead_steps(neuron, dt), dt)

    def schedule(self, memory: int, dead: int, dt: float) -> MergeSchedule:
        """For so many ages before the oldest, and so many steps in which no neuron fires after a spike."""
        merge_ages: list[int] = []
        width = 2  # of the cohorts that a merger makes, in steps
        while self.widths is not None:
            wide_enough = np.flatnonzero(np.asarray(self.widths) >= width * dt)
            if len(wide_enough) == 0:
                break
            age = int(np.ceil(wide_enough[0] * (memory + 1) / (POINTS - 1))) - 1
            # Both cohorts have to be there, and levels take turns: an odd multiple of half the width.
            age = max(age, merge_ages[-1] + 1 if merge_ages else dead + 1)
            age += (width // 2 - age) % width
            if age + 2 * width > memory:
                break
            merge_ages.append(age)
            width *= 2
        width //= 2
        # Cohorts of the last level join the last bin when their mean age comes to the memory.
        final = width * -(-(2 * memory - width + 1) // (2 * width))
        # Exact ages, in which bins are plenty and the adjoint knows where the newborn are, do not wait.
        first = dead if merge_ages else 0
        return MergeSchedule(memory, (first, *merge_ages, max(final, 0)))


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
