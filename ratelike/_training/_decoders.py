"""Decoders by regression, as in the Neural Engineering Framework."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._generalised import GeneralisedRate
from ratelike._network import Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import membrane_traces
from ratelike._simulate import simulate
from ratelike._types import Numbers


@broadcasts
def solve_decoders(
    network: Network,
    increments: Input,
    grid: TimeGrid,
    target: Float[ArrayLike, "time latents_out"],
    *,
    ridge: Numbers,
    burn_in: int = 0,
    dynamics: AbstractDynamics | None = None,
) -> Network:
    r"""The network with the decoder D of its last layer solved so that the outputs come closest to `target`:

        minimise  mean_n |(1/N) sum_j D_j x_j[n] - target[n]|^2  +  (1/N^2) sum_j ridge_j |D_j|^2,
        x_j = kappa * r_j in hertz: the filtered activity of neuron j under `dynamics` (default: `GeneralisedRate()`).

    With 1/N, time average and squared hertz, `ridge` is a *variance*: that of the filtered spike train of a neuron
    around x_j. Neurons are independent given their input, so (1/N^2) sum_j D_j^2 Var_j is the variance of the spiking
    outputs, and for one layer the minimum is over the expected squared error of the *spiking* network at its N. This
    is the noise term of the framework's decoders; a Poisson neuron of rate r has the variance r / (2 tau_m), a
    refractory one less. The decoder of a deeper network is solved with the layers before as they are.

    `target` has one row per step; its columns are the new outputs, which may be of another number. The first `burn_in`
    steps do not count. `ridge` is one number for all neurons or one for each. Solved by a QR factorisation of
    (time + neurons, neurons), whose accuracy does not suffer from squaring as that of normal equations; differentiable.

    Eliasmith and Anderson, *Neural Engineering* (MIT Press, 2003), chapter 2 and appendix A.

    Raises `ValueError` unless `ridge` > 0 and shapes fit, and for whatever `simulate` objects to.
    """
    validation.instance("network", network, Network)
    validation.instance("grid", grid, TimeGrid)
    network = network.stored()
    layer = network.layers[-1]
    size, dtype = layer.num_neurons, network.layers[0].encoder.dtype
    target = validation.signal("target", target)
    validation.shape("target", target, (grid.num_steps, "latents_out"))
    variance = validation.parameter("ridge", ridge, above=0.0)
    if variance.ndim != 0:
        validation.shape("ridge", variance, (size,))
    burn_in = validation.burn_in(burn_in, grid.num_steps)
    dynamics = GeneralisedRate() if dynamics is None else dynamics
    validation.instance("dynamics", dynamics, AbstractDynamics)
    if dynamics.needs_key:
        raise ValueError(f"dynamics must be a rate, got {validation.shown(dynamics)}")
    run = simulate(
        network, increments, grid, dynamics, record={network.depth - 1: range(size)}
    )
    activity = run.recordings[network.depth - 1].activity
    rates = membrane_traces(activity, network.output_tau_m, grid.dt)  # Hz
    decoder = _ridge_regression(
        rates[burn_in:] / size,
        target.astype(dtype)[burn_in:],
        variance.astype(dtype) / size**2,
    )
    return eqx.tree_at(lambda n: n.layers[-1].decoder, network, decoder)


@jax.jit
def _ridge_regression(
    features: Float[Array, "time neurons"],
    target: Float[Array, "time latents"],
    ridge: Float[Array, "*#neurons"],
) -> Float[Array, "neurons latents"]:
    """Argmin of mean_n |features D - target|^2 + sum_j ridge_j |D_j|^2: least squares with the ridge as more rows."""
    num_steps, num_neurons = features.shape
    weights = jnp.broadcast_to(jnp.sqrt(num_steps * ridge), (num_neurons,))
    rows = jnp.concatenate([features, jnp.diag(weights)])
    q, r = jnp.linalg.qr(rows)
    projected = jnp.matmul(q[:num_steps].T, target, precision="highest")
    return jax.scipy.linalg.solve_triangular(r, projected)
