"""The refractory density of a population."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ratelike._density._waiting import Waiting


class RefractoryDensity(eqx.Module):
    """One density over age for each neuron, with the input potential that drives it.

    `age_distribution` holds probabilities, one per age bin, the youngest first: they are not negative and add up to 1.
    Bin 0 is the age in the step after a spike, the last bin holds all ages of at least the neuron's memory. On a graded
    `AgeMesh` the bins are the cohorts of that moment.
    """

    potential: Float[Array, " neurons"]  # h
    age_distribution: Float[Array, "ages neurons"]
    mark: PyTree[Float[Array, "ages neurons"]]  # mean mark of the neurons of each age
    activity: Float[Array, " neurons"]  # expected spikes: see the solver that moves it
    age: Float[Array, " ages"] | None = None  # s, mean age of each bin


class Cohorts(eqx.Module):
    """The same as the solver on the grid keeps it: bins stay where they are in memory while their age grows."""

    potential: Float[Array, " neurons"]
    share: Float[Array, "bins neurons"]  # probability
    age: Float[Array, " bins"]  # mean age in steps
    deviation: Float[Array, " bins"]  # standard deviation of the ages, in steps
    elder: Float[Array, "bins neurons"] | None  # part at the elder of two ages
    mark: PyTree[Float[Array, "bins neurons"]]
    waiting: Waiting | None  # those who come to the bins after their dead time
    trace: PyTree[
        Float[Array, " neurons"]
    ]  # of the expected activity, if spikes before the last one act
    activity: Float[Array, "block neurons"]  # expected spikes in the last steps
    past_potential: Float[Array, "block recorded"]  # at the beginning of these
    arriving: Float[Array, "delay neurons"] | None  # feedback under way

    def density(self, memory: int, dt: float) -> RefractoryDensity:
        """In the order of age."""
        age = jnp.minimum(self.age, memory)
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
            age=age[order] * dt,
        )
