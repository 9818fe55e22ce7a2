"""The refractory density as ordinary differential equations, for any diffrax solver."""

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._age_shift import RenewalProblem
from ratelike._density._state import RefractoryDensity
from ratelike._renewal import hazard


def method_of_lines(path: diffrax.AbstractPath) -> diffrax.ODETerm:
    r"""Finite volumes in age, continuous time, for a differentiable path X:

        tau_m dh/dt = b - h + sum_k E_k dX_k/dt
        dP_k/dt     = (P_{k-1} - P_k)/da - rho_k P_k,   inflow of bin 0: r = sum_k rho_k P_k
        dA/dt       = r

    with upwind flux over bins of width da and an absorbing last bin. Probability is conserved exactly. The error is
    of order 1 in da. `activity` is A, the expected number of spikes since the beginning.
    """

    def vector_field(
        t, y: RefractoryDensity, args: RenewalProblem
    ) -> RefractoryDensity:
        layer = args.layer
        current = jnp.matmul(layer.encoder, path.derivative(t), precision="highest")
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
