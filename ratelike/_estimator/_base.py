"""What every estimator does: give a sampled layer a derivative, and the mean of a sampled loss one."""

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float, Integer, Key

from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._grid import TimeGrid

# Draws the spikes of a population that receives the increments; the last argument names the neurons to record.
Sample = Callable[
    [
        Population,
        Float[Array, "time *tiles latents"],
        Integer[Array, " recorded"] | None,
    ],
    LayerOutput,
]


class AbstractEstimator(eqx.Module):
    """How a derivative with respect to the parameters is estimated from sampled spikes.

    Spikes are piecewise constant in the parameters; their *expectation* is not, and each estimator is another way to
    its derivative. The spikes themselves are the same, whatever the estimator.
    """

    fewest_trials: ClassVar[int]  # that `mean_loss` needs
    allows_feedback: ClassVar[bool]  # whether neurons of a layer may hear each other
    keeps_spikes: ClassVar[bool]  # over all of time, so that a layer runs as a whole

    @abc.abstractmethod
    def __call__(
        self,
        sample: Sample,
        population: Population,
        increments: Float[Array, "time *tiles latents"],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
    ) -> LayerOutput:
        """The sampled population, with the derivative that the estimator stands for."""

    @abc.abstractmethod
    def mean_loss(
        self,
        trial: "RunTrial",
        keys: Key[Array, " trials"],
    ) -> Float[Array, ""]:
        """The mean loss of a trial for each key, with the derivative that the estimator stands for."""


class Trial(eqx.Module):
    """One run of a sampled loss."""

    loss: Float[Array, ""]
    log_likelihood: Float[Array, ""]  # 0 unless the estimator keeps it


# Runs one trial with an estimator and a key.
RunTrial = Callable[[AbstractEstimator, Key[Array, ""]], Trial]
