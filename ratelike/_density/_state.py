"""The refractory density of a population."""

import equinox as eqx
from jaxtyping import Array, Float, PyTree


class RefractoryDensity(eqx.Module):
    """One density over age for each neuron, with the input potential that drives it.

    `age_distribution` holds probabilities, one per age bin: they are not negative and add up to 1. Bin 0 is the age in
    the step after a spike, the last bin holds all ages of at least the neuron's memory.
    """

    potential: Float[Array, " neurons"]  # h
    age_distribution: Float[Array, "ages neurons"]
    mark: PyTree[Float[Array, "ages neurons"]]  # mean mark of the neurons of each age
    activity: Float[Array, " neurons"]  # expected spikes: see the solver that moves it
