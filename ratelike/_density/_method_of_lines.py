"""The refractory density as ordinary differential equations, for any diffrax solver."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._state import RefractoryDensity
from ratelike._neuron._renewal import hazard, num_ages
from ratelike._population._population import Population


class LinesProblem(eqx.Module):
    """What the vector field needs to know: the `args` of the solve."""

    layer: Population
    ages: Float[Array, "ages 1"]  # s
    age_step: float = eqx.field(static=True)  # s
    recorded: Integer[Array, " recorded"] | None


def lines_problem(
    layer: Population, age_step: float, recorded: Array | None
) -> LinesProblem:
    neuron, dtype = layer.neuron, layer.bias.dtype
    # All that a neuron without memory has is the last bin.
    bins = num_ages(neuron, age_step) if neuron.memory > 0.0 else 0
    middle = (jnp.arange(bins, dtype=dtype) + 0.5) * age_step
    age = jnp.append(middle, neuron.memory)[:, None]
    return LinesProblem(layer, age, age_step, recorded)


def initial_density(problem: LinesProblem) -> RefractoryDensity:
    """All neurons at rest and as if they had never fired: in the last bin."""
    bias = problem.layer.bias
    empty = jnp.zeros((len(problem.ages), len(bias)), bias.dtype)
    return RefractoryDensity(
        potential=bias,
        age_distribution=empty.at[-1].set(1.0),
        mark=None,
        activity=jnp.zeros_like(bias),
    )


def method_of_lines(path: diffrax.AbstractPath) -> diffrax.ODETerm:
    r"""Finite volumes in age, continuous time, for a differentiable path X:

        tau_m dh/dt = b - h + sum_k E_k dX_k/dt
        dP_k/dt     = (P_{k-1} - P_k)/da - rho_k P_k,   inflow of bin 0: r = sum_k rho_k P_k
        dA/dt       = r

    with upwind flux over bins of width da, of which rho_k takes the age in the middle, and an absorbing last bin of age
    `memory`. Probability is conserved exactly. The error is of order 1 in da. `activity` is A, the expected number of spikes since the beginning.
    """

    def vector_field(t, y: RefractoryDensity, args: LinesProblem) -> RefractoryDensity:
        layer = args.layer
        current = layer.currents(path.derivative(t)[None])[0]
        firing = (
            hazard(layer.neuron, y.potential, args.ages, y.mark) * y.age_distribution
        )
        rate = jnp.sum(firing, axis=0)
        return RefractoryDensity(
            potential=(layer.bias - y.potential + current) / layer.neuron.tau_m,
            age_distribution=_transport(rate, y.age_distribution, args.age_step)
            - firing,
            mark=None,
            activity=rate,
        )

    return diffrax.ODETerm(vector_field)


def _transport(
    inflow: Float[Array, " neurons"],
    distribution: Float[Array, "ages neurons"],
    age_step: float,
) -> Float[Array, "ages neurons"]:
    """What ageing moves into and out of each bin, per second."""
    upward = distribution[:-1] / age_step
    entering = jnp.concatenate([inflow[None], upward])
    leaving = jnp.concatenate([upward, jnp.zeros_like(distribution[-1:])])
    return entering - leaving
