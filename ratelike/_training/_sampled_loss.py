"""The mean of a loss over sampled spikes, as something to differentiate."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._dynamics._spiking import Spiking
from ratelike._dynamics._trajectory import Trajectory
from ratelike._estimator._base import AbstractEstimator, Trial
from ratelike._network import Network
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid
from ratelike._simulate import simulate


def sampled_loss(
    network: Network,
    loss: Callable[[Network, Trajectory], Float[Array, ""]],
    increments: Input,
    grid: TimeGrid,
    dynamics: Spiking,
    *,
    key: Array,
    num_trials: int,
) -> Float[Array, ""]:
    r"""The mean of `loss(network, trajectory)` over `num_trials` runs of spikes that share the input.

    Its derivative with respect to `network` and `increments` is the one that `dynamics.estimator` stands for:
    `Spiking(ScoreFunction())` an unbiased estimate of the derivative of the *expected* loss, whatever the loss;
    `Spiking(StraightThrough())` a biased one with less variance; `Spiking()` refuses. The derivative of what the loss
    does with `network` and with other simulations in it (such as a rate network beside the spiking one) is included.
    The loss must not draw spikes of its own.

    Raises `ValueError` for dynamics other than `Spiking`, fewer trials than the estimator needs (2 for
    `ScoreFunction`), a loss that is not a scalar, and whatever `simulate` objects to.
    """
    validation.instance("dynamics", dynamics, Spiking)
    key = validation.typed_key("key", key)
    estimator = dynamics.estimator
    num_trials = validation.count(
        "num_trials", num_trials, at_least=estimator.fewest_trials
    )
    validation.function("loss", loss, "a network and a trajectory")

    def trial(estimator: AbstractEstimator, key: Array) -> Trial:
        run = simulate(network, increments, grid, Spiking(estimator), key=key)
        log_likelihood = sum(
            jax.tree.leaves(run.saved), jnp.zeros_like(run.rates[0, 0])
        )
        nothing = (None,) * network.depth
        run = eqx.tree_at(
            lambda t: t.saved, run, nothing, is_leaf=lambda node: node is None
        )
        value = loss(network, run)
        validation.shape("the value of loss", value, ())
        return Trial(value, log_likelihood)

    return estimator.mean_loss(trial, jax.random.split(key, num_trials))
