"""A recurrent network that remembers patterns."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._network import Layer, Network
from ratelike._network._feedback import Feedback
from ratelike._neuron import AbstractNeuronModel, check_neuron, fine_step
from ratelike._neuron._renewal import stationary_rate
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._gaussian import trapezoidal
from ratelike._numerics._tile_random import TILE, per_neuron, tile_keys
from ratelike._types import Numbers

RULE = trapezoidal(129, largest=8.0)


@broadcasts
def attractor_network(
    neuron: AbstractNeuronModel,
    *,
    num_neurons: int,
    num_patterns: int,
    key: Array,
    gain: Numbers = 1.0,
    bias: Numbers = 0.0,
    delay: float | None = None,
) -> Network:
    r"""One recurrent layer, without self-connections, that stores random patterns xi_mu, iid standard normal:

        J_ij = (1/N) sum_mu gain xi_mu,i (phi_j(xi_mu,j) - mean_j) / var,        phi_j(xi) = g_j(bias_j + gain xi),

    g_j being the stationary rate of neuron j in hertz, mean_j that of phi_j over the standard normal distribution and
    var its variance (averaged over neurons, where they differ). External input and output are in pattern space: latent
    mu of the input drives neuron i by gain xi_mu,i, and output mu is the *overlap* with pattern mu, the membrane trace
    m_mu = kappa * (1/N) sum_j (phi_j(xi_mu,j) - mean_j) / var s_j.

    *Fixed points.* h_i = bias_i + gain sum_mu m_mu xi_mu,i. In the limit of many neurons and few patterns, m = 1 for one
    pattern and 0 for the others is a fixed point of the rates. It resists the other patterns whenever phi is not linear:
    the slope of their growth is E[phi']^2 / var(phi) < 1. The retrieved pattern itself is stable to slow changes if

        E[(phi(xi) - mean) xi phi'(xi)] / var < 1,

    that is where phi saturates, such as with `SigmoidEscape` or in the dead time; where phi is expansive, activity runs
    away or dies. Fixed points, but not the way to them, are those of the conventional rate.

    With one key, the first n neurons of a larger network are the smaller network. `delay` is that of `Feedback`.

    Schmutz, Brea and Gerstner, Phys. Rev. Lett. 134, 018401 (2025), with memoryless neurons; Hopfield, PNAS 81, 3088
    (1984), for the kind of network.

    Raises `ValueError` for sizes < 1, gain <= 0, a missing or raw key, a bias that is not finite, and a bias and gain at
    which the rate does not depend on the pattern.
    """
    num_neurons = validation.count("num_neurons", num_neurons)
    num_patterns = validation.count("num_patterns", num_patterns)
    key = validation.typed_key("key", key)
    spread = validation.parameter("gain", gain, above=0.0)
    validation.shape("gain", spread, ())
    bias = validation.parameter("bias", bias)
    if bias.ndim != 0:
        validation.shape("bias", bias, (num_neurons,))
    validation.instance("neuron", neuron, AbstractNeuronModel)
    check_neuron("neuron", neuron, num_neurons)

    def draw(tile_key: Array) -> Float[Array, "tile patterns"]:
        numbers = jax.random.normal(tile_key, (TILE * num_patterns,), spread.dtype)
        return numbers.reshape(TILE, num_patterns)

    patterns = per_neuron(draw, tile_keys(key, num_neurons), num_neurons)
    encoder, decoder = spread * patterns, _decoder(neuron, bias, spread, patterns)
    feedback = Feedback(encoder, decoder, delay)
    return Network([Layer(neuron, encoder, decoder, bias, feedback)])


def _decoder(
    neuron: AbstractNeuronModel,
    bias: Float[Array, "*#neurons"],
    spread: Float[Array, ""],
    patterns: Float[Array, "neurons patterns"],
) -> Float[Array, "neurons patterns"]:
    """(phi(xi) - mean) / var, in seconds."""
    dt = fine_step(neuron, bias)

    def phi(xi: Float[Array, "..."]) -> Float[Array, "..."]:
        return stationary_rate(neuron, bias + spread * xi, dt)

    rates = jax.vmap(phi)(jnp.asarray(RULE.nodes, patterns.dtype))
    mean = RULE.mean(rates)
    variance = jnp.mean(RULE.mean((rates - mean) ** 2))
    rounding = 100.0 * jnp.finfo(variance.dtype).eps * jnp.max(jnp.abs(mean))
    if validation.is_concrete(variance) and not float(variance) > float(rounding) ** 2:
        raise ValueError(
            "bias and gain must be where the neuron's stationary rate depends on the potential, got a variance of "
            f"{float(variance):g} Hz^2 over the entries of a pattern: the neuron is silent or saturated there"
        )
    return (phi(patterns.T) - mean).T / variance
