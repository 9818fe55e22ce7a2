"""The potential that acts in a step, in which the input potential changes."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._escape import AbstractEscape, acting_potential
from ratelike._neuron._base import AbstractNeuron
from ratelike._neuron._mixture import Mixture


def potential_in_step(
    neuron: AbstractNeuron, start: Float[Array, "..."], end: Float[Array, "..."]
) -> Float[Array, "..."]:
    """hs: the potential at which the escape rate is the mean of that at both ends of the step.

    For every neuron, dynamics, mark and recording it is the one potential of the step. The escape rate of a neuron
    without an `escape` is its hazard at an age of `memory`.
    """
    if isinstance(neuron, Mixture):
        return neuron.select(
            [potential_in_step(each, start, end) for each in neuron.neurons]
        )
    escape = getattr(neuron, "escape", None)
    if isinstance(escape, AbstractEscape):
        return acting_potential(escape, start, end)

    def rate(potential):
        age = jnp.full_like(potential, neuron.memory)
        return neuron.hazard(potential, age, neuron.mark(potential))

    return acting_potential(rate, start, end)
