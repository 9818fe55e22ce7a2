"""The stationary rate for callers, with its checks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._neuron import AbstractNeuronModel, check_dead_time
from ratelike._neuron import _renewal as renewal
from ratelike._neuron._escape_rates import check_escape_rates
from ratelike._numerics._broadcasting import broadcasts
from ratelike._types import Numbers


@broadcasts
def stationary_rate(
    neuron: AbstractNeuronModel, potential: Numbers, dt: float
) -> Float[Array, "..."]:
    r"""g(h) in hertz: the rate of the discrete renewal process at constant input potential h.

    With survivors S_0 = 1, S_{k+1} = S_k (1 - p_k), and an absorbing last bin K, the mean interval is

        (1/g) = dt (S_0 + ... + S_{K-1} + S_K / p_K).

    No closed form is assumed. `potential` may have any shape that fits the neuron's parameters (along its last axis,
    where these differ between neurons); the result is of its floating-point type. `dt` is in seconds.
    *Neuronal Dynamics*, section 7.5 (renewal statistics), in discrete time.

    For a neuron with adaptation the p_k depend on the traces that the rate itself has left: g solves g = F(h, g), and is
    what the generalised rate comes to at constant h.

    Raises `ValueError` for potentials that are not finite numbers of at least single precision, or of a shape that does
    not fit the neuron, for an escape rate that is negative or not finite, unless `dt` > 0, and for a dead time that is
    not a multiple of `dt`.
    """
    validation.instance("neuron", neuron, AbstractNeuronModel)
    validation.finite_leaves("neuron", neuron)
    check_escape_rates("neuron", neuron)
    potential = validation.parameter("potential", potential)
    dt = validation.number("dt", dt, above=0.0)
    check_dead_time("neuron", neuron, dt)
    for path, leaf in jax.tree_util.tree_leaves_with_path(neuron):
        try:
            np.broadcast_shapes(jnp.shape(leaf), potential.shape)
        except ValueError:
            raise ValueError(
                f"potential must fit neuron{jax.tree_util.keystr(path)} of shape {jnp.shape(leaf)} along its last axis, "
                f"got shape {potential.shape}"
            ) from None

    def cast(leaf):
        floats = eqx.is_inexact_array(leaf)
        return leaf.astype(potential.dtype) if floats else leaf

    return renewal.stationary_rate(jax.tree.map(cast, neuron), potential, dt)
