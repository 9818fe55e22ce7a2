"""Who fires in a step, of each age."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._exponential import SMALL, one_minus_exp, one_minus_exp_of_small
from ratelike._population import matmul


class SeparableHazard(eqx.Module):
    """rho(h, a) = f(h) ratio(a), in hertz: one exponential for each neuron and one for each age, none for each pair."""

    of_potential: Float[Array, " neurons"]
    of_age: Float[Array, " bins"]


def firing(
    share: Float[Array, "bins neurons"],
    hazard: SeparableHazard | Float[Array, "bins neurons"],
    dt: float,
) -> Float[Array, "bins neurons"]:
    """P (1 - exp(-dt rho)), computed once and kept: for the sum, and for the survivors."""
    if isinstance(hazard, SeparableHazard):
        return _separable_firing(share, dt * hazard.of_potential, hazard.of_age)
    return jax.lax.optimization_barrier(share * one_minus_exp(dt * hazard))


@jax.custom_jvp
def _separable_firing(
    share: Float[Array, "bins neurons"],
    of_neuron: Float[Array, " neurons"],
    of_age: Float[Array, " bins"],
) -> Float[Array, "bins neurons"]:
    return _in_one_of_two_ways(share, of_neuron, of_age)


@_separable_firing.defjvp
def _(primals, tangents):
    (share, of_neuron, of_age), (dshare, dof_neuron, dof_age) = primals, tangents
    probability = _in_one_of_two_ways(None, of_neuron, of_age)
    survivors = share - share * probability
    # As matrix products, which are what the derivatives by either factor then are, too.
    dx = matmul(of_age[:, None], dof_neuron[None])
    dx += matmul(dof_age[:, None], of_neuron[None])
    fired = _separable_firing(share, of_neuron, of_age)
    return fired, dshare * probability + survivors * dx


@jax.custom_batching.custom_vmap
def _in_one_of_two_ways(share, of_neuron, of_age):
    """By the polynomial alone, without doublings, where that serves all neurons: nearly always.

    Both ways give the same bits, so that a result does not depend on who else is computed beside it. Without a `share`
    the probability.
    """

    def times(probability):
        return probability if share is None else share * probability

    largest = jnp.max(of_neuron) * jnp.max(of_age)
    return jax.lax.cond(
        largest <= SMALL,
        lambda: times(one_minus_exp_of_small(_outer(of_neuron, of_age))),
        lambda: times(one_minus_exp(_outer(of_neuron, of_age))),
    )


@_in_one_of_two_ways.def_vmap
def _(axis_size, in_batched, *arguments):
    # One choice for the whole batch: a choice for each would compute both ways for all.
    def batched(x, is_batched):
        return x if is_batched else jnp.broadcast_to(x, (axis_size, *x.shape))

    return _in_one_of_two_ways(
        *jax.tree.map(batched, arguments, tuple(in_batched))
    ), True


def _outer(of_neuron, of_age):
    return of_neuron[..., None, :] * of_age[..., :, None]
