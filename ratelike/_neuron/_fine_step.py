"""A time step at which a stationary rate is that of continuous time."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._neuron._base import AbstractNeuronModel

IN_MEMORY, IN_DEAD_TIME, MOST = 2000, 40, 60_000
# By how much the logarithm of the hazard may change in a step.
LARGEST_CHANGE = 0.05
# Ages that are looked at, from memory / 10^5 on.
AGES = np.logspace(-5.0, 0.0, 400)


def fine_step(
    neuron: AbstractNeuronModel, potential: Float[Array, "*#neurons"]
) -> float:
    """Seconds: a part of the shortest dead time, short beside it, the memory and what the hazard needs to recover.

    The recovery is that at `potential`. Of a neuron that is being traced it is not known, and does not count. There are
    never more than 60 000 steps in the memory, or 40 in the dead time if that is more.
    """
    memory, dead = neuron.memory, neuron.shortest_dead_time
    if memory == 0.0:
        return 1e-6
    step = max(min(memory / IN_MEMORY, _of_recovery(neuron, potential)), memory / MOST)
    if dead == 0.0:
        return step
    return dead / math.ceil(max(dead / step, IN_DEAD_TIME) * (1.0 - 1e-9))


def _of_recovery(
    neuron: AbstractNeuronModel, potential: Float[Array, "*#neurons"]
) -> float:
    """Short beside the time in which the hazard changes."""
    if not validation.is_concrete((neuron, potential)):
        return np.inf
    with jax.ensure_compile_time_eval():
        neuron = neuron.expected
        ages = jnp.asarray(neuron.memory * AGES[:, None])
        h = jnp.broadcast_to(potential, jnp.shape(potential) or (1,))
        trace, nothing = neuron.initial_trace(h), jnp.zeros_like(h)
        mark, _ = neuron.newborn(h, trace, nothing, 0.0)
        rho = neuron.hazard(h, ages, neuron.faded(mark, ages))
        # Where next to no neuron fires, nothing changes that counts.
        logarithm = np.log(np.maximum(np.asarray(rho, dtype=float), 1e-3))
        alive = np.asarray(ages) >= np.asarray(neuron.dead_time)
        slopes = np.gradient(logarithm, np.asarray(ages)[:, 0], axis=0)
    steepest = np.max(np.where(alive, np.abs(slopes), 0.0))
    return float(LARGEST_CHANGE / max(steepest, 1e-30))
