"""The error that spikes will make, predicted from rate solves."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._age_mesh import AgeMesh
from ratelike._fluctuations._inputs import (
    FluctuationInputs,
    checked_fluctuation_inputs,
)
from ratelike._fluctuations._network import OutputFluctuations
from ratelike._fluctuations._response import Response
from ratelike._network import Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._population._sums import Workers, caller, run_with
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid

# Beyond so many standard deviations the sign of a Gaussian variable is certain, in float64 too.
CERTAIN = 13.0


@broadcasts
def expected_error(
    network: Network,
    increments: Input,
    grid: TimeGrid,
    *,
    burn_in: int = 0,
    num_probes: int = 4,
    key: Array | None = None,
    age_mesh: AgeMesh | None = None,
    mesh: jax.sharding.Mesh | None = None,
    response: Response | None = None,
) -> Float[Array, ""]:
    r"""Predicts mean |y_spiking - y_rate|, over outputs and the steps after the first `burn_in`, without a spike.

    To first order in 1/sqrt(N) the difference is Gaussian,

        dy = kappa * (xi_L + J_L xi_{L-1} + J_L J_{L-1} xi_{L-2} + ...),     E|dy| = sqrt(2/pi) sigma(t),

    with xi_l the noise of layer l's neurons given their input, and J_l the linearised generalised rate of layer l. The
    last layer's own variance is that of `readout_variance`; for a network of one layer without feedback that is all.
    What the earlier layers pass on is sampled: `num_probes` realisations of linear noise run through the linearised
    layers, in the same pass as the rate. Given their sample x, E|dy| is taken exactly, as the mean of a folded Gaussian
    of mean x and of the last layer's variance, so that few probes give no bias. `key` determines the probes, so that
    the prediction is a deterministic, smooth function of the network; a network of one layer without feedback has none
    and needs no key. `age_mesh` as in `readout_variance`: by default the ages of `SRM0` are graded, and the rate is
    that of the mesh. The neurons of each layer are shared out among the devices of `mesh`, as by `simulate`; how many
    these are changes no bit of the result. `response=NonlinearResponse()` has no J_l: each probe is a run through the
    layers as they are. For small networks of several layers it is right where linear noise is not (below), at about the
    same price.

    *Feedback.* In a layer with feedback the noise of the neurons is in what they send to each other, too: with J_l the
    linearised rate and F the feedback, filtered and delayed, its fluctuations are ds = xi_l + J_l (dX + F ds). Probes run
    through this loop step by step, beside the rate, on the same delays and synapses. Where the last layer has feedback all
    is sampled: the standard error is about 0.76 / sqrt(n) of the prediction, with n the number of independent values
    (outputs x probes x duration / (2 tau)), so take more probes for few outputs or short runs. A stable inhibitory loop
    of 1000 neurons and more was predicted within 1% (benchmarks/README.md). Near a bifurcation of the rate network, where
    fluctuations are large, the prediction is off; where the rate network is chaotic or oscillates by itself it grows with
    time beyond all bounds; and what trials do that leave the basin of an attractor, no linear theory says.

    *Limits.* The law of the outputs is taken to be Gaussian. Where few spikes reach an output it is not, whatever the
    variance, and the prediction of E|dy| is too large: 2.1 times with 0.04 spikes of all neurons within tau_m, 1.2 times with 0.24, 1.03 times with
    0.9 and 1.01 times with 4 (one layer; the variance itself stays exact). And where fluctuations are large enough for a layer to
    answer nonlinearly, which small networks in deep stacks show first, linear noise is too small: three layers of 256 / 64
    neurons make 1.04 / 1.34 times the error predicted with `LinearResponse()`, the default, and 1.00 / 1.00 times that with
    `NonlinearResponse()` (benchmarks/README.md). Needs the time of about 2 + 2 `num_probes` rate solves, and no more memory
    with more neurons, except for layers with feedback: their neurons advance together on one device, with a density for
    the rate and for each probe, of which reverse mode keeps about 2 sqrt(steps). Differentiable in reverse mode, and with
    exact ages in forward mode as well.

    Linear noise: van Kampen, *Stochastic Processes in Physics and Chemistry*, ch. X; for refractory densities
    Schwalger, Deger and Gerstner, PLoS Comput. Biol. 13, e1005507 (2017).

    Raises `ValueError` as `simulate` does, unless 0 <= burn_in < number of steps, for neurons that remember more than their
    last spike, for `num_probes` < 1, for a raw key, for a missing one where the network has more than one layer or
    feedback, for a `response` that is none, and for `NonlinearResponse()` where a layer has feedback.
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
    workers = inputs.workers(network, grid, mesh)
    return run_with(workers, _expected_error, network, inputs, grid)


def _expected_error(
    network: Network, inputs: FluctuationInputs, grid: TimeGrid, workers: Workers
) -> Float[Array, ""]:
    outputs = inputs.fluctuations(network, grid, workers)
    return caller(workers)(_mean_error, outputs, inputs.burn_in)


def _mean_error(outputs: OutputFluctuations, burn_in: int) -> Float[Array, ""]:
    own, passed_on = outputs.own[burn_in:], outputs.passed_on
    own = own if own.ndim == 3 else own[:, None]
    if passed_on is None:
        passed_on = jnp.zeros_like(outputs.own)[:, None]
    return jnp.mean(folded_mean(passed_on[burn_in:], own))


def folded_mean(
    mean: Float[Array, "*shape"], variance: Float[Array, "*#shape"]
) -> Float[Array, "*shape"]:
    r"""E|x| of a Gaussian: sqrt(2/pi) sigma exp(-mu^2 / (2 sigma^2)) + mu erf(mu / (sqrt(2) sigma)).

    The variance may have axes of size 1, along which it is the same for all means.
    """
    spreads = variance > 0.0
    sigma = jnp.sqrt(jnp.where(spreads, variance, 1.0))
    ratio = jnp.clip(mean / sigma, -CERTAIN, CERTAIN)
    spread = math.sqrt(2.0 / math.pi) * sigma * jnp.exp(-0.5 * ratio**2)
    folded = spread + mean * jax.scipy.special.erf(math.sqrt(0.5) * ratio)
    return jnp.where(spreads, folded, jnp.abs(mean))
