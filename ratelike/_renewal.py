r"""The discrete renewal process of one neuron: age bins, firing probabilities, stationary rate.

Age index k counts the steps since the step of the last spike; it is 0 in the step after it. Bin k has age k dt. The
last bin, of age >= memory, absorbs.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ratelike._exponential import one_minus_exp
from ratelike._neuron import AbstractNeuron


def memory_steps(neuron: AbstractNeuron, dt: float) -> int:
    return round(neuron.memory / dt)


def num_ages(neuron: AbstractNeuron, dt: float) -> int:
    """The number of age bins: 0, dt, ..., memory."""
    return memory_steps(neuron, dt) + 1


def ages(neuron: AbstractNeuron, dt: float, dtype) -> Float[Array, "ages 1"]:
    """Ages k dt in seconds, as a column that broadcasts against neurons."""
    return jnp.asarray(np.arange(num_ages(neuron, dt))[:, None] * dt, dtype=dtype)


def hazard(
    neuron: AbstractNeuron,
    potential: Float[Array, "..."],
    age: Float[Array, "..."],
    mark: PyTree[Float[Array, "..."]],
) -> Float[Array, "..."]:
    """rho(h, a, mark) in hertz, zero within the dead time.

    Age and dead time are multiples of dt, computed in different ways: they are compared with a tolerance.
    """
    may_fire = age >= neuron.dead_time * (1.0 - 1e-4)
    return jnp.where(may_fire, neuron.hazard(potential, age, mark), 0.0)


def firing_probability(hazard: Float[Array, "..."], dt: float) -> Float[Array, "..."]:
    """p = 1 - exp(-dt rho), the chance to fire in a step of constant hazard, without cancellation."""
    return one_minus_exp(dt * hazard)


def stationary_rate(
    neuron: AbstractNeuron, potential: Float[Array, "... #neurons"], dt: float
) -> Float[Array, "... neurons"]:
    r"""g(h) in hertz: the rate of the discrete renewal process at constant input potential h.

    With survivors S_0 = 1, S_{k+1} = S_k (1 - p_k), and an absorbing last bin K, the mean interval is

        (1/g) = dt (S_0 + ... + S_{K-1} + S_K / p_K).

    No closed form is assumed. *Neuronal Dynamics*, section 7.5 (renewal statistics), in discrete time.
    """
    mark = neuron.mark(potential)
    age = ages(neuron, dt, potential.dtype)[:, 0]

    def next_age(carry, a):
        survivor, steps = carry
        survived = jnp.exp(-dt * hazard(neuron, potential, a, mark))
        return (survivor * survived, steps + survivor), None

    last = firing_probability(hazard(neuron, potential, age[-1], mark), dt)
    # The shape of `last`, not of the potential: parameters may differ between neurons that share it.
    carry = (jnp.ones_like(last), jnp.zeros_like(last))
    (survivor, steps), _ = jax.lax.scan(next_age, carry, age[:-1])
    # g = p_K / (p_K steps + S_K) stays finite, with its gradient, where p_K underflows.
    return last / (last * steps + survivor) / dt
