"""The refractory density as ordinary differential equations, for any diffrax solver."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._at_rest import never_fired
from ratelike._density._state import RefractoryDensity, Scalar
from ratelike._neuron._ages import num_ages
from ratelike._neuron._hazards import hazard
from ratelike._population._population import Population


class LinesProblem(eqx.Module):
    """What the vector field needs to know: the `args` of the solve."""

    population: Population
    ages: Float[Array, "ages 1"]  # s
    age_step: float = eqx.field(static=True)  # s
    recorded: Integer[Array, " recorded"] | None


def lines_problem(
    population: Population,
    age_step: float,
    recorded: Integer[Array, " recorded"] | None,
) -> LinesProblem:
    neuron, dtype = population.neuron, population.bias.dtype
    # A neuron without memory has the last bin alone.
    bins = num_ages(neuron, age_step) if neuron.memory > 0.0 else 0
    middle = (jnp.arange(bins, dtype=dtype) + 0.5) * age_step
    age = jnp.append(middle, neuron.memory)[:, None]
    return LinesProblem(population, age, age_step, recorded)


class LinesState(eqx.Module):
    """The unknowns of the differential equations, or their derivatives by time."""

    potential: Float[Array, " neurons"]
    age_distribution: Float[Array, "ages neurons"]
    total_activity: Float[Array, " neurons"]  # expected spikes since t = 0

    def refractory_density(self, problem: LinesProblem) -> RefractoryDensity:
        return RefractoryDensity(
            potential=self.potential,
            age_distribution=self.age_distribution,
            mark=None,
            activity=None,
            age=problem.ages[:, 0],
            total_activity=self.total_activity,
        )


def initial_state(problem: LinesProblem) -> LinesState:
    """All neurons at rest and as if they had never fired: in the last bin."""
    bias = problem.population.bias
    mass, _ = never_fired(problem.population.neuron, bias, len(problem.ages))
    return LinesState(bias, mass, jnp.zeros_like(bias))


def method_of_lines(path: diffrax.AbstractPath) -> diffrax.ODETerm:
    r"""Finite volumes in age, continuous time, for a differentiable path X:

        tau_m dh/dt = b - h + sum_k E_k dX_k/dt
        dP_k/dt     = (P_{k-1} - P_k)/da - rho_k P_k,   inflow of bin 0: r = sum_k rho_k P_k
        dA/dt       = r

    with upwind flux over bins of width da, of which rho_k takes the age in the middle, and an absorbing last bin of age
    `memory`. Probability is conserved exactly. The error is of order 1 in da. A is the expected number of spikes since t = 0.
    """

    def vector_field(t: Scalar, y: LinesState, args: LinesProblem) -> LinesState:
        population = args.population
        bias, neuron = population.bias, population.neuron
        current = population.currents(path.derivative(t)[None])[0]
        rho = hazard(neuron, y.potential, args.ages, None)
        firing = rho * y.age_distribution
        rate = jnp.sum(firing, axis=0)
        transport = _transport(rate, y.age_distribution, args.age_step)
        return LinesState(
            potential=(bias - y.potential + current) / neuron.tau_m,
            age_distribution=transport - firing,
            total_activity=rate,
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
