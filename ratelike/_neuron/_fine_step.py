"""A time step at which a stationary rate is that of continuous time."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._neuron._base import AbstractNeuron
from ratelike._neuron._history import expected_neuron, faded, newborn, no_trace

IN_MEMORY, IN_DEAD_TIME, MOST = 2000, 40, 60_000
# By how much the logarithm of the hazard may change in a step.
LARGEST_CHANGE = 0.05
# Ages that are looked at, from memory / 10^5 on.
AGES = np.logspace(-5.0, 0.0, 400)


def fine_step(neuron: AbstractNeuron, potential: Float[Array, "#neurons"]) -> float:
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


def _of_recovery(neuron: AbstractNeuron, potential: Array) -> float:
    if not validation.is_concrete((neuron, potential)):
        return np.inf
    with jax.ensure_compile_time_eval():
        neuron = expected_neuron(neuron)
        ages = jnp.asarray(neuron.memory * AGES[:, None])
        h = jnp.broadcast_to(potential, jnp.shape(potential) or (1,))
        mark, _ = newborn(neuron, h, no_trace(neuron, h), jnp.zeros_like(h), 0.0)
        rho = neuron.hazard(h, ages, faded(neuron, mark, ages))
        # Where next to nobody fires, nothing changes that counts.
        logarithm = np.log(np.maximum(np.asarray(rho, dtype=float), 1e-3))
        alive = np.asarray(ages) >= np.asarray(neuron.dead_time)
        slopes = np.gradient(logarithm, np.asarray(ages)[:, 0], axis=0)
    steepest = np.max(np.where(alive, np.abs(slopes), 0.0))
    return float(LARGEST_CHANGE / max(steepest, 1e-30))
