"""Refractory kernels that add up."""

from collections.abc import Iterable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._refractory._base import AbstractRefractory


class SumRefractory(AbstractRefractory):
    """eta(a) = eta_1(a) + eta_2(a) + ..., for instance two exponentials; no spike while any kernel forbids it.

    The dead time of each neuron is the longest of its kernels, and so is the memory.

    *Neuronal Dynamics*, section 6.4.

    Raises `ValueError` for no kernels.
    """

    kernels: tuple[AbstractRefractory, ...]

    def __init__(self, kernels: Sequence[AbstractRefractory]) -> None:
        validation.instance("SumRefractory.kernels", kernels, Iterable)
        self.kernels = tuple(kernels)
        for index, kernel in enumerate(self.kernels):
            name = f"SumRefractory.kernels[{index}]"
            validation.instance(name, kernel, AbstractRefractory)
        if not self.kernels:
            raise ValueError(
                "SumRefractory.kernels must hold at least one kernel, got none"
            )

    @property
    def dead_time(self) -> Float[Array, "*#neurons"]:  # pyright: ignore[reportIncompatibleVariableOverride]
        longest = self.kernels[0].dead_time
        for kernel in self.kernels[1:]:
            longest = jnp.maximum(longest, kernel.dead_time)
        return longest

    @property
    def memory(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return max(kernel.memory for kernel in self.kernels)

    @property
    def shortest_dead_time(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        # A lower bound, which is all that is needed: the minimum of maxima is at least the maximum of minima.
        return max(kernel.shortest_dead_time for kernel in self.kernels)

    def __call__(self, age: Float[Array, "..."]) -> Float[Array, "..."]:
        return sum((kernel(age) for kernel in self.kernels), jnp.zeros_like(age))
