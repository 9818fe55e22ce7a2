"""No derivative at all: the default."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key

from ratelike._estimator._base import AbstractEstimator, RunTrial, Sample
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree


class Refuse(AbstractEstimator):
    """Sampled spikes cannot be differentiated: trying to raises `ValueError`.

    Spikes are piecewise constant in the parameters, so a derivative through them would be zero or wrong without saying
    so.
    """

    fewest_trials: ClassVar[int] = 1
    allows_feedback: ClassVar[bool] = True
    keeps_spikes: ClassVar[bool] = False

    def __call__(
        self,
        sample: Sample,
        population: Population,
        increments: Float[Array, "time *tiles latents"],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
    ) -> LayerOutput:
        population, increments = without_derivative((population, increments))
        return sample(population, increments, recorded)

    def mean_loss(
        self, trial: RunTrial, keys: Key[Array, " trials"]
    ) -> Float[Array, ""]:
        return jnp.mean(jax.vmap(lambda key: trial(self, key))(keys).loss)


def without_derivative(tree: PyTree) -> PyTree:
    """What spikes are drawn from, which raises `ValueError` where they are differentiated."""
    return refuse_derivatives(
        tree,
        "Spiking() cannot be differentiated: sampled spikes are piecewise constant in the parameters, so a "
        "derivative through them would be wrong without saying so. Differentiate GeneralisedRate() instead, the "
        "expected activity of the same neurons, name an estimator such as Spiking(StraightThrough()), or stop the "
        "gradient with jax.lax.stop_gradient.",
    )


def refuse_derivatives(tree: PyTree, message: str) -> PyTree:
    """`tree`, which raises `ValueError(message)` where anything computed from it is differentiated."""

    @jax.custom_jvp
    def identity(arrays: PyTree[Array]) -> PyTree[Array]:
        return arrays

    @identity.defjvp
    def _derivative(primals, tangents):
        raise ValueError(message)

    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(identity(arrays), rest)
