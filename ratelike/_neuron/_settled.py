"""The ages of renewal neurons that have had constant input for a long time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._neuron._ages import in_seconds, num_ages
from ratelike._neuron._base import AbstractNeuronModel
from ratelike._neuron._hazards import firing_probability, hazard


def settled_ages(
    neuron: AbstractNeuronModel, potential: Float[Array, " neurons"], dt: float
) -> Float[Array, "ages neurons"]:
    """The probability of each age between two steps, in proportion to its survivors: S_k, and S_K / p_K of the last bin."""
    mark = neuron.mark(potential)
    index = jnp.arange(num_ages(neuron, dt), dtype=potential.dtype)

    def next_age(survivor: Array, k: Array) -> tuple[Array, Array]:
        rho = hazard(neuron, potential, in_seconds(neuron, k, dt), mark)
        return survivor * jnp.exp(-dt * rho), survivor

    oldest = in_seconds(neuron, index[-1], dt)
    last = firing_probability(hazard(neuron, potential, oldest, mark), dt)
    survivor, before = jax.lax.scan(next_age, jnp.ones_like(last), index[:-1])
    # Finite where p_K underflows: then no neuron has fired for long.
    total = last * jnp.sum(before, axis=0) + survivor
    return jnp.concatenate([last * before, survivor[None]]) / total
