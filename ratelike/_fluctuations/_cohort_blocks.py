"""Neurons on a graded age mesh that advance together, over all of time: their rate, and the variance they cause."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._at_rest import never_fired
from ratelike._density._renewal_term import acting_in_steps
from ratelike._fluctuations._block import Fluctuations, Readout
from ratelike._fluctuations._cohort_steps import Columns, cohort_steps
from ratelike._fluctuations._cohorts import Aging
from ratelike._network import Layer
from ratelike._neuron._hazards import hazard_ratio, shared_factors
from ratelike._numerics._products import matmul
from ratelike._numerics._time_blocks import in_blocks, in_time, root_block
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import UNROLL, Leak, leak_of, potentials_at_ends


class State(NamedTuple):
    """What a block of steps changes."""

    potential: Float[Array, " neurons"]
    mass: Float[Array, "nodes neurons"]
    covariance: Float[Array, "nodes neurons"]  # of `Moments`
    variance: Float[Array, " neurons"]


def run_cohorts(
    layer: Layer,
    increments: Float[Array, "time latents"],
    grid: TimeGrid,
    readout: Readout,
    agings: Aging,
) -> Fluctuations:
    """`run_block` without probes, for a hazard of two factors of which one is shared: without exponentials in steps.

    Reverse mode keeps the states between the blocks of steps, and those of the steps within one block.
    """
    neuron, dt = layer.neuron, grid.dt
    factors = shared_factors(neuron)
    assert factors is not None
    leak = leak_of(readout.tau_m, dt)
    leak = Leak(*[jnp.broadcast_to(x, layer.bias.shape) for x in leak])
    shape = root_block(grid.num_steps)

    def one_block(
        state: State, inputs: tuple[Float[Array, "block latents"], Aging]
    ) -> tuple[State, tuple[Array, Array]]:
        path, block_aging = inputs
        ends = potentials_at_ends(
            layer.bias, state.potential, matmul(path, layer.encoder.T), neuron.tau_m, dt
        )
        # The sum is 1 up to rounding errors, whatever the parameters: it has no derivative.
        total = jax.lax.stop_gradient(jnp.sum(state.mass, axis=0))
        columns = Columns(
            dt * acting_in_steps(neuron, ends),
            *leak,
            state.mass * (1.0 / total),
            state.covariance,
        )
        ratio = hazard_ratio(neuron, factors.ratio, block_aging.age)
        sums = cohort_steps(columns, ratio, block_aging)
        last, variance = _variances(
            state.variance, sums.activity, sums.with_spike, leak
        )
        # Rounding may leave a neuron that fires like a clock with slightly less than no variance.
        variance = matmul(jnp.maximum(variance, 0.0), readout.decoder_products)
        activity = matmul(sums.activity, layer.decoder)
        return State(ends[-1], sums.mass, sums.covariance, last), (activity, variance)

    mass, _ = never_fired(neuron, layer.bias, agings.age.shape[-1])
    state = State(layer.bias, mass, jnp.zeros_like(mass), jnp.zeros_like(layer.bias))
    inputs = jax.tree.map(lambda x: in_blocks(x, *shape), (increments, agings))
    _, outputs = jax.lax.scan(
        jax.checkpoint(one_block, prevent_cse=False), state, inputs
    )
    activity, variance = [in_time(x, grid.num_steps) for x in outputs]
    return Fluctuations(activity, None, variance)


def _variances(
    start: Float[Array, " neurons"],
    activity: Float[Array, "block neurons"],
    with_spike: Float[Array, "block neurons"],
    leak: Leak,
) -> tuple[Float[Array, " neurons"], Float[Array, "block neurons"]]:
    """Var y after the last step, and after each."""
    decay, jump = leak
    noise = jump**2 * activity * (1.0 - activity) + 2.0 * decay * jump * with_spike

    def step(variance: Array, noise: Array) -> tuple[Array, Array]:
        variance = decay**2 * variance + noise
        return variance, variance

    return jax.lax.scan(step, start, noise, unroll=4)
