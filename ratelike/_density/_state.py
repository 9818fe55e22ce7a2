"""The refractory density of a population."""

from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ratelike._density._waiting import Waiting
from ratelike._neuron._ages import in_seconds

if TYPE_CHECKING:
    from ratelike._density._renewal_problem import RenewalProblem


class RefractoryDensity(eqx.Module):
    """One density over age for each neuron, with the input potential that drives it.

    `age_distribution` holds probabilities, one per age bin, the youngest first: they are not negative and add up to 1.
    A density is that of a moment between two steps: bin 0 holds the spikes of the step before, which are of age dt in the
    step to come, and the last bin all that are then as old as the neuron's memory. On a graded `AgeMesh` the bins are the
    cohorts of that moment.
    """

    potential: Float[Array, " neurons"]  # h at that moment
    age_distribution: Float[Array, "ages neurons"]
    mark: PyTree[Float[Array, "ages neurons"]]  # mean mark of the neurons of each age
    activity: Float[Array, " neurons"]  # expected spikes: see the solver that moves it
    age: Float[Array, " ages"] | None = (
        None  # s, mean age of each bin in the step to come
    )


class Cohorts(eqx.Module):
    """The same as the solver on the grid keeps it: bins stay where they are in memory while their age grows."""

    potential: Float[Array, " neurons"]
    share: Float[Array, "bins neurons"]  # probability
    age: Float[Array, " bins"]  # mean age index
    deviation: Float[Array, " bins"]  # standard deviation of the age indices
    elder: Float[Array, "bins neurons"] | None  # part at the elder of two ages
    mark: PyTree[Float[Array, "bins neurons"]]
    waiting: Waiting | None  # those who come to the bins after their dead time
    trace: PyTree[
        Float[Array, " neurons"]
    ]  # of the expected activity, if spikes before the last one act
    activity: Float[Array, "block neurons"]  # expected spikes in the last steps
    acted: Float[Array, "block recorded"]  # potential in these
    arriving: Float[Array, "delay neurons"] | None  # feedback under way

    def density(self, problem: "RenewalProblem") -> RefractoryDensity:
        """In the order of age."""
        age = jnp.minimum(self.age, problem.schedule.memory)
        bins = (self.share, age, self.mark)
        if self.waiting is not None:
            share, mark = self.waiting.rows
            dead = (share, self.waiting.age, mark)
            bins = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), dead, bins)
        share, age, mark = bins
        order = jnp.append(jnp.argsort(age[:-1], stable=True), len(age) - 1)
        return RefractoryDensity(
            potential=self.potential,
            age_distribution=share[order],
            mark=jax.tree.map(lambda mark: mark[order], mark),
            activity=self.activity[-1],
            age=in_seconds(problem.layer.neuron, age[order], problem.dt),
        )
