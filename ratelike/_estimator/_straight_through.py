"""The surrogate derivative: spikes forward, firing probabilities backward. Biased."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key

from ratelike._estimator._base import AbstractEstimator, RunTrial, Sample
from ratelike._estimator._replay import replay
from ratelike._numerics._exponential import one_minus_exp
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._grid import TimeGrid


class StraightThrough(AbstractEstimator):
    r"""A *biased* derivative of sampled spikes: s counts forward, dp = d(1 - exp(-dt rho)) backward.

    The ages at which the neurons find themselves are taken as given: the derivative does not go through the reset
    ("detached" reset, Zenke and Vogels, Neural Comput. 33, 899 (2021)). So for one layer and a loss linear in its
    output, its expectation is sum_k P_k dp_k, over the ages k, where the exact derivative of the expected activity
    r = sum_k P_k p_k is sum_k (P_k dp_k + p_k dP_k). What is left out is that neurons that fire more are refractory more often.
    There it is right on average for memoryless neurons, and too large for refractory ones: for the default neuron at
    constant potential, d rate / d bias comes out 1.4 times too large at 7 Hz, 1.8 times at 13 Hz, 2.3 times at 22 Hz
    and 2.6 times at 48 Hz. A loss that is not linear in the output, and further layers, add a bias of their own: the
    derivative is taken at the sampled signals, and what follows is not linear in them.

    Use it to compare with; `GeneralisedRate()` has the exact derivative of the limit, `ScoreFunction` an unbiased one.

    Bengio, Leonard and Courville, arXiv:1308.3432 (2013), for the name; Neftci, Mostafa and Zenke, IEEE Signal Process.
    Mag. 36, 51 (2019), for surrogate gradients. Memory grows with time steps times neurons.
    """

    fewest_trials: ClassVar[int] = 1
    allows_feedback: ClassVar[bool] = False
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
        probability = one_minus_exp(given.spent)
        # The difference is zero, and its derivative is that of p.
        surrogate = probability - jax.lax.stop_gradient(probability)
        return given.layer_output(population, given.spikes + surrogate, recorded)

    def mean_loss(
        self, trial: RunTrial, keys: Key[Array, " trials"]
    ) -> Float[Array, ""]:
        return jnp.mean(jax.vmap(lambda key: trial(self, key))(keys).loss)
