"""What a network is trained for: squared errors of its outputs, of the rate and of the spikes expected."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ratelike import _validation as validation
from ratelike._density._age_mesh import AgeMesh
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._fluctuations._inputs import (
    FluctuationInputs,
    checked_fluctuation_inputs,
)
from ratelike._fluctuations._network import OutputFluctuations
from ratelike._fluctuations._response import Response
from ratelike._inputs import checked_inputs
from ratelike._network import Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._population._sums import Workers, caller, run_with
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid
from ratelike._simulate import simulate


@broadcasts
def rate_loss(
    network: Network,
    increments: Input,
    grid: TimeGrid,
    target: Float[ArrayLike, "time latents"],
    *,
    burn_in: int = 0,
    dynamics: GeneralisedRate | None = None,
) -> Float[Array, ""]:
    r"""Mean squared error of the generalised rate network's outputs, over outputs and steps after `burn_in`.

    The squared error of spiking networks of the same connectivity in the limit N -> infinity. Exact in the network's
    parameters, so its gradient is exact too: reverse mode by default, forward mode with
    `dynamics=GeneralisedRate(adjoint=diffrax.ForwardMode())`.

    Raises `ValueError` as `simulate` does, for a target of another shape than the outputs or not finite, and unless
    0 <= burn_in < number of steps.
    """
    dynamics = GeneralisedRate() if dynamics is None else dynamics
    validation.instance("dynamics", dynamics, GeneralisedRate)
    path = checked_inputs(network, increments, grid, dynamics).path
    burn_in = validation.burn_in(burn_in, grid.num_steps)
    target = _checked_target(target, network, grid)
    outputs = simulate(network, path, grid, dynamics).outputs
    return _mean_square(outputs, target, burn_in)


@broadcasts
def expected_spiking_loss(
    network: Network,
    increments: Input,
    grid: TimeGrid,
    target: Float[ArrayLike, "time latents"],
    *,
    burn_in: int = 0,
    num_probes: int = 4,
    key: Array | None = None,
    age_mesh: AgeMesh | None = None,
    mesh: jax.sharding.Mesh | None = None,
    response: Response | None = None,
) -> Float[Array, ""]:
    r"""Expected mean squared error of the *spiking* network's outputs at its own number of neurons, without a spike:

        E (y_spiking - target)^2 = (y_rate - target)^2 + Var y_spiking.

    For one layer without feedback it is deterministic, and with `age_mesh=AgeMesh.uniform()` exact; by default both
    terms are right to 10^-3 (`readout_variance`). For more layers the variance that the earlier ones pass on, and with
    feedback all of it, is that of linear noise, estimated without bias by `num_probes` probes, which are drawn from
    `key`, and a shift of the mean of order 1/N is left out. `response=NonlinearResponse()` has this shift in the first
    term, and the variance beyond linear noise (not with feedback): see `expected_error`, also for `mesh`, cost and
    differentiation.

    Raises `ValueError` as `rate_loss` and `expected_error` do.
    """
    inputs = checked_fluctuation_inputs(
        network,
        increments,
        grid,
        burn_in=burn_in,
        num_probes=num_probes,
        key=key,
        age_mesh=age_mesh,
        mesh=mesh,
        response=response,
    )
    target = _checked_target(target, network, grid)
    workers = inputs.workers(network, grid, mesh)
    return run_with(workers, _expected_spiking_loss, network, inputs, grid, target)


def _expected_spiking_loss(
    network: Network,
    inputs: FluctuationInputs,
    grid: TimeGrid,
    target: Float[Array, "time latents"],
    workers: Workers,
) -> Float[Array, ""]:
    fluctuations = inputs.fluctuations(network, grid, workers)
    return caller(workers)(_mean_loss, fluctuations, target, inputs.burn_in)


def _mean_loss(
    fluctuations: OutputFluctuations,
    target: Float[Array, "time latents"],
    burn_in: int,
) -> Float[Array, ""]:
    outputs, shift = fluctuations.outputs, fluctuations.shift
    loss = _mean_square(outputs, target, burn_in)
    loss = loss + jnp.mean(fluctuations.own[burn_in:])
    if fluctuations.passed_on is not None:
        loss = loss + jnp.mean(fluctuations.passed_on[burn_in:] ** 2)
    if shift is not None:
        error = outputs - target.astype(outputs.dtype)
        loss = loss + 2.0 * jnp.mean((error * shift)[burn_in:])
    return loss


def _mean_square(
    outputs: Float[Array, "time latents"],
    target: Float[Array, "time latents"],
    burn_in: int,
) -> Float[Array, ""]:
    return jnp.mean((outputs - target.astype(outputs.dtype))[burn_in:] ** 2)


def _checked_target(
    target: ArrayLike, network: Network, grid: TimeGrid
) -> Float[Array, "time latents"]:
    target = validation.signal("target", target)
    latents = network.layers[-1].num_latents_out
    validation.shape("target", target, (grid.num_steps, latents))
    return target
