"""No refractoriness."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._refractory._base import AbstractRefractory


class NoRefractory(AbstractRefractory):
    """eta = 0 and no dead time: the neuron forgets its spikes and is linear-nonlinear-Poisson."""

    dead_time: Float[Array, ""]  # s
    memory: float = eqx.field(static=True)  # s
    shortest_dead_time: float = eqx.field(static=True)  # s

    def __init__(self) -> None:
        self.dead_time = validation.parameter("NoRefractory.dead_time", 0.0)
        self.memory = 0.0
        self.shortest_dead_time = 0.0

    def __call__(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.zeros_like(age)
