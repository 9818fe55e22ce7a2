"""Meshes of age: which neurons share an age bin, and when two bins merge."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ratelike import _validation as validation
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._neuron import AbstractNeuronModel, dead_steps
from ratelike._neuron._ages import oldest_age
from ratelike._numerics._broadcasting import broadcasts


class AgeMesh(eqx.Module):
    r"""How finely the age since the last spike is resolved.

    The neurons that fired in one step form a *cohort*, which ages along the characteristic without any error. A
    `uniform` mesh keeps every cohort until it is as old as the memory: the density is exact on the grid. A `graded`
    mesh merges neighbouring cohorts as they age, two of width w into one of width 2 w: bins are narrow where the hazard
    depends steeply on age, and wide where it is nearly flat or where no neuron fires. Of a merged cohort the mean age is
    kept for each neuron, as the fraction of the cohort's mass at the upper of two nodes of age (two-point Gauss
    quadrature); it changes since the mass fires sooner at one node than at the other. The error is of fourth order in
    the widths (of second order where neurons carry marks); probability is conserved and never negative; there is no
    numerical diffusion, because only whole cohorts move between bins.
    """

    widths: tuple[float, ...] | None = eqx.field(static=True)  # s, at equal ages

    @classmethod
    def uniform(cls) -> "AgeMesh":
        """One bin per step of age: exact."""
        return cls(None)

    @classmethod
    def graded(
        cls,
        neuron: AbstractNeuronModel,
        tolerance: float = 1e-3,
        *,
        potential: float = 2.0,
    ) -> "AgeMesh":
        r"""Bins as wide as the neuron allows at one potential: w(a)^2 max_{a' >= a} |d rho/d a'| S(a') <= sqrt(20 `tolerance`).

        With a neuron that keeps a mark of its last spike (`LIF`), 50 `tolerance` if that is less: of marks only the mean
        in each cohort is kept, which is of second order. rho is the hazard and S the survivor function at a constant input
        potential, `potential`.

        *What it promises.* Only this inequality: no simulation is looked at. For the default neuron in a relay network of gain 1
        the relative error of a layer's output is below `tolerance` (10^-3 gave 3 10^-4 at dt = 0.5 ms, with 16 bins
        instead of 200). Under strong or sudden input, and with stronger kernels, it was up to 40 times `tolerance`. Take
        `fitted_age_mesh` where it matters.

        Raises `ValueError` unless `tolerance` > 0 and the neuron is concrete (not being traced).
        """
        _check(neuron)
        tolerance = validation.number("AgeMesh.tolerance", tolerance, above=0.0)
        potential = validation.number("AgeMesh.potential", potential)
        if neuron.memory == 0.0:
            return cls.uniform()
        bound = np.sqrt(20.0 * tolerance)
        # All is known: in a caller's `jit` as well nothing is traced.
        with jax.ensure_compile_time_eval():
            if neuron.expected.mark(jnp.zeros(())) is not None:
                bound = min(bound, 50.0 * tolerance)
            steep = steepness(neuron, np.asarray([potential]))
            widths = limited_widths(neuron, steep, bound)
        return cls(tuple(float(width) for width in widths))

    def schedule_of(self, neuron: AbstractNeuronModel, dt: float) -> MergeSchedule:
        """For the memory and the shortest dead time of a neuron."""
        return self.schedule(oldest_age(neuron, dt), dead_steps(neuron, dt), dt)

    def schedule(self, memory: int, dead: int, dt: float) -> MergeSchedule:
        """For so many ages before the oldest, and so many steps in which no neuron fires after a spike."""
        merge_ages: list[int] = []
        width = 2  # of the cohorts that a merge makes, in steps
        while self.widths is not None:
            wide_enough = np.flatnonzero(np.asarray(self.widths) >= width * dt)
            if len(wide_enough) == 0:
                break
            age = int(np.ceil(wide_enough[0] * (memory + 1) / (POINTS - 1))) - 1
            # Both cohorts must be in the bins, and levels take turns: an odd multiple of half the width.
            age = max(age, merge_ages[-1] + 1 if merge_ages else dead + 1)
            age += (width // 2 - age) % width
            if age + 2 * width > memory:
                break
            merge_ages.append(age)
            width *= 2
        width //= 2
        # Cohorts of the last level join the last bin when their mean age reaches the memory.
        final = width * -(-(2 * memory - width + 1) // (2 * width))
        # Exact ages need no refractory queue: they have many bins, and the adjoint finds the newborn in theirs.
        first = dead if merge_ages else 0
        return MergeSchedule(memory, (first, *merge_ages, max(final, 0)))


# Ages at which the allowed width is kept.
POINTS = 201


# The hazard is looked at on an age grid that is so many times finer.
FINER = 10


def _check(neuron: AbstractNeuronModel) -> None:
    validation.instance("AgeMesh.neuron", neuron, AbstractNeuronModel)
    if not validation.is_concrete(neuron):
        raise ValueError("AgeMesh.neuron must be concrete: make the mesh outside jit")


def limited_widths(
    neuron: AbstractNeuronModel, steep: np.ndarray, bound: float
) -> np.ndarray:
    """w(a), with w(a)^2 times the steepness at all higher ages at most `bound`; none within the dead time."""
    steepest_later = np.maximum.accumulate(steep[::-1])[::-1]
    allowed = np.sqrt(bound / np.maximum(steepest_later, 1e-30))
    age = np.linspace(0.0, neuron.memory, POINTS)
    # Cohorts that straddle the end of the dead time would fire too early.
    longest = float(np.max(np.asarray(neuron.dead_time)))
    return np.where(age <= longest, 0.0, np.minimum(allowed, neuron.memory))


@broadcasts
def steepness(
    neuron: AbstractNeuronModel, potentials: np.ndarray, dt: float | None = None
) -> np.ndarray:
    """|d rho/da| S(a) in Hz^2 at `POINTS` ages: the largest of all neurons and potentials, with S at the first of these.

    With `dt`, rho is the chance to fire in a step, per second: beyond certainty no hazard is steep.
    """
    ages = jnp.linspace(0.0, neuron.memory, FINER * (POINTS - 1) + 1)[:, None]
    neuron, step = neuron.expected, neuron.memory / (len(ages) - 1)
    alive, largest, survivors = (
        np.asarray(ages) >= np.asarray(neuron.dead_time),
        0.0,
        None,
    )
    for potential in potentials:
        h = jnp.asarray(potential, ages.dtype)
        mark, _ = neuron.newborn(h, neuron.initial_trace(h), jnp.zeros_like(h), 0.0)
        rho = np.asarray(neuron.hazard(h, ages, neuron.faded(mark, ages)), float)
        rho = np.broadcast_to(rho, np.broadcast_shapes(rho.shape, alive.shape))
        if survivors is None:
            survivors = np.exp(-np.cumsum(np.where(alive, rho, 0.0), axis=0) * step)
        if dt is not None:
            rho = -np.expm1(-rho * dt) / dt
        slopes = np.abs(np.gradient(rho, step, axis=0)) * survivors
        largest = np.maximum(largest, slopes.reshape(len(ages), -1).max(axis=1))
    around = np.arange(POINTS)[:, None] * FINER + np.arange(-FINER // 2, FINER // 2 + 1)
    return np.asarray(largest)[np.clip(around, 0, len(ages) - 1)].max(axis=1)
