"""By how much encoders grow so that a relay network with synapses keeps the variance of its potentials."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike._signal._synapse import AbstractSynapse

# Of the midpoint rule, which converges geometrically: a synapse may be a few hundred times slower or faster than a membrane.
NODES = 4096


def synaptic_gains(
    synapse: AbstractSynapse | None, tau_m: Float[Array, "..."], depth: int
) -> list[Float[Array, "*#latents"] | None]:
    r"""For each layer; None without a synapse.

    White noise that has passed l membranes of transfer function 1/(1 + i w tau_m) and l synapses of S(w) has the variance

        v_l = int |S(w)|^(2 l) (1 + w^2 tau_m^2)^(-l) dw,

    taken with w = tan(theta) / tau_m, whose integrand is smooth and periodic. The product of the gains of the first l
    layers is sqrt(v_l without synapses / v_l).
    """
    if synapse is None:
        return [None] * depth
    tau_m = jnp.mean(tau_m)
    angle = (np.arange(NODES) + 0.5) * (np.pi / NODES) - 0.5 * np.pi
    frequency = jnp.asarray(np.tan(angle), tau_m.dtype) / tau_m
    power = jnp.abs(synapse.transfer(frequency)) ** 2
    of_membrane = jnp.asarray(np.cos(angle) ** 2, tau_m.dtype)
    of_membrane = of_membrane.reshape(-1, *[1] * (power.ndim - 1))
    gains, before = [], 1.0
    for layer in range(depth):
        without = of_membrane**layer
        variance = jnp.mean(without * power ** (layer + 1), axis=0)
        total = jnp.sqrt(jnp.mean(without) / variance)
        gains.append(total / before)
        before = total
    return gains
