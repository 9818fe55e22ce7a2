"""Age bins on the grid.

Age index k counts the steps since the step of the last spike; it is 0 in the step after it. A spike of a step is somewhere
in it, so that the age is (k + 1) dt on average. There are memory/dt ages, rounded up: the last bin absorbs, and its age is
`memory`, on the grid or not.
"""

import math

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ratelike._neuron._base import AbstractNeuronModel


def num_ages(neuron: AbstractNeuronModel, dt: float) -> int:
    """The number of age bins: memory/dt rounded up, to one part in 10^4 of a step, and at least one."""
    return max(math.ceil(neuron.memory / dt - 1e-4), 1)


def oldest_age(neuron: AbstractNeuronModel, dt: float) -> int:
    """The index of the last bin."""
    return num_ages(neuron, dt) - 1


def dead_steps(neuron: AbstractNeuronModel, dt: float) -> int:
    """Steps after that of a spike in which no neuron fires: its next spike may come a dead time after it, and no sooner."""
    return max(round(neuron.shortest_dead_time / dt) - 1, 0)


def in_seconds(
    neuron: AbstractNeuronModel, index: Float[Array, "..."], dt: float
) -> Float[Array, "..."]:
    """The age of each index, on which the hazard depends: (k + 1) dt, at most `memory`."""
    return jnp.minimum((index + 1.0) * dt, neuron.memory)


def ages(
    neuron: AbstractNeuronModel, dt: float, dtype: DTypeLike
) -> Float[Array, "ages 1"]:
    """The age of each bin in seconds, as a column that broadcasts against neurons."""
    return in_seconds(
        neuron, jnp.arange(num_ages(neuron, dt), dtype=dtype)[:, None], dt
    )
