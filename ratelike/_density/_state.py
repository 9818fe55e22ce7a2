"""The refractory density of a population, as a caller sees it and as the solver on the grid keeps it."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ratelike._density._refractory_queue import RefractoryQueue
from ratelike._population._recurrence import RecurrentState
from ratelike._types import PyTree

# A time, as diffrax types it.
Scalar = int | float | Float[Array | np.ndarray, ""]
# Mean, and standard deviation, of the age index in each bin.
Ages = tuple[Float[Array, "*steps bins"], Float[Array, "*steps bins"]]


class RefractoryDensity(eqx.Module):
    """One density over age for each neuron, with the input potential that drives it.

    `age_distribution` holds probabilities, one per age bin, the youngest first: they are not negative and add up to 1.
    A density is that of a moment between two steps: bin 0 holds the spikes of the step before, which are of age dt in the
    step to come, and the last bin all that are then as old as the neuron's memory. On a graded `AgeMesh` the bins are the
    cohorts of that moment.

    What has been fired is known in the form in which the solver counts it: `AgeShift` gives `activity`, the method of
    lines `total_activity`. The other of the two is None.
    """

    potential: Float[Array, " neurons"]  # h at that moment
    age_distribution: Float[Array, "ages neurons"]
    mark: PyTree[Float[Array, "ages neurons"]]  # mean mark of the neurons of each age
    activity: Float[Array, " neurons"] | None  # expected spikes in the step before
    age: Float[Array, " ages"] | None = (
        None  # s, mean age of each bin in the step to come
    )
    total_activity: Float[Array, " neurons"] | None = None  # spikes since t = 0


class CohortDensity(eqx.Module):
    """The density in slots that stay where they are in memory while the ages of their cohorts grow."""

    potential: Float[Array, " neurons"]
    mass: Float[Array, "bins neurons"]  # probability
    upper_fraction: Float[Array, "bins neurons"] | None  # of it, at the upper node
    mark: PyTree[Float[Array, "bins neurons"]]
    # Of the expected activity, if spikes before the last one act.
    trace: PyTree[Float[Array, " neurons"]]


class BlockOutput(eqx.Module):
    """What a block of steps hands on."""

    activity: Float[Array, "block neurons"]  # expected spikes in each step
    acted: Float[Array, "block recorded"]  # potential that acted in each step
    under_way: RecurrentState | None  # feedback


class GridState(eqx.Module):
    """What the solver on the grid hands from block to block."""

    density: CohortDensity
    queue: RefractoryQueue | None  # cohorts that enter the bins after their dead time
    ages: Ages  # of the bins in the step to come
    output: BlockOutput
