"""The likelihood-ratio derivative of a sampled loss. Unbiased."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key

from ratelike._estimator._base import AbstractEstimator, RunTrial, Sample
from ratelike._estimator._given_spikes import log_chances
from ratelike._estimator._refuse import refuse_derivatives
from ratelike._estimator._replay import Replay, replay
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._grid import TimeGrid


class ScoreFunction(AbstractEstimator):
    r"""An *unbiased* derivative of an expected loss of sampled spikes, for use in `sampled_loss`:

        d E[L] = E[(L - B) d log P(spikes) + dL],
        log P = sum over neurons and steps of  log p where a neuron fires, -dt rho where it does not.

    dL is the derivative at given spikes (of the decoders, of a target). The baseline B of each trial is the mean loss
    of the other trials, which does not depend on the trial's spikes: it takes variance away and adds no bias.

    No derivative of a *single output* has this property: the loss, all of it, has to meet the likelihood. So
    differentiating a simulation with this estimator raises `ValueError`, and `sampled_loss` does not. The standard
    error of the derivative grows with the number of spikes that the loss depends on and falls as trials^(-1/2).

    Williams, Mach. Learn. 8, 229 (1992); Kool, van Hoof and Welling, ICLR workshop (2019), for the baseline; Foerster et
    al., ICML (2018), for the form whose higher derivatives are unbiased too. Memory grows with trials times time steps
    times neurons.
    """

    fewest_trials: ClassVar[int] = 2
    allows_feedback: ClassVar[bool] = True
    keeps_spikes: ClassVar[bool] = True

    def __call__(
        self,
        sample: Sample,
        population: Population,
        increments: Float[Array, "time *tiles latents"],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
    ) -> LayerOutput:
        population, increments = refuse_derivatives(
            (population, increments),
            "Spiking(ScoreFunction()) cannot be differentiated by itself: the derivative of an expected loss needs the "
            "likelihood of the spikes times the whole loss. Differentiate ratelike.train.sampled_loss(network, loss, "
            "increments, grid, Spiking(ScoreFunction()), key=..., num_trials=...), whose derivative is unbiased.",
        )
        return sample(population, increments, recorded)

    def mean_loss(
        self, trial: RunTrial, keys: Key[Array, " trials"]
    ) -> Float[Array, ""]:
        trials = jax.vmap(lambda key: trial(_GivenSpikes(), key))(keys)
        count = keys.shape[0]
        others = (jnp.sum(trials.loss) - trials.loss) / (count - 1)
        baseline = jax.lax.stop_gradient(others)
        constant = jax.lax.stop_gradient(trials.log_likelihood)
        # One, with the derivative of the log-likelihood.
        box = jnp.exp(trials.log_likelihood - constant)
        return jnp.mean(box * (trials.loss - baseline) + baseline)


class _GivenSpikes(AbstractEstimator):
    """The derivative at given spikes; `saved` is the log-likelihood of the layer's spikes."""

    fewest_trials: ClassVar[int] = 2
    allows_feedback: ClassVar[bool] = True
    keeps_spikes: ClassVar[bool] = True

    def __call__(
        self,
        sample: Sample,
        population: Population,
        increments: Float[Array, "time *tiles latents"],
        grid: TimeGrid,
        recorded: Integer[Array, " recorded"] | None,
    ) -> LayerOutput:
        given = replay(sample, population, increments, grid)
        saved = log_likelihood(given)
        return given.layer_output(population, given.spikes, recorded, saved)

    def mean_loss(
        self, trial: RunTrial, keys: Key[Array, " trials"]
    ) -> Float[Array, ""]:
        raise NotImplementedError("ScoreFunction takes the mean")


def log_likelihood(given: Replay) -> Float[Array, ""]:
    """log P(spikes) of a layer, given its input."""
    return jnp.sum(log_chances(given.spent, given.spikes > 0.0))
