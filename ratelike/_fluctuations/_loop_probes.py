"""A layer with feedback and its fluctuations: what each probe makes of the neurons comes back to them."""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._age_mesh import AgeMesh
from ratelike._fluctuations._block import (
    Fluctuations,
    Noise,
    State,
    StepInputs,
    advance_neurons,
    at_rest,
)
from ratelike._fluctuations._cohorts import aging, merge_schedule
from ratelike._fluctuations._layer import received
from ratelike._network import Layer
from ratelike._numerics._checkpointed_scan import checkpointed_scan
from ratelike._numerics._products import matmul
from ratelike._numerics._tile_random import tile_keys
from ratelike._population._recurrence import Recurrence, RecurrentState
from ratelike._signal._grid import TimeGrid


class LoopState(NamedTuple):
    """What a step changes."""

    neurons: State
    under_way: RecurrentState
    of_probes: RecurrentState  # perturbations of it, with a leading axis of probes


def loop_fluctuations(
    layer: Layer,
    increments: Float[Array, "time latents"],
    incoming: Float[Array, "time probes latents"] | None,
    grid: TimeGrid,
    noise: Noise,
    age_mesh: AgeMesh,
) -> Fluctuations:
    r"""The generalised rate of a layer with feedback, and probes that carry its noise and the answers to it.

    With s_j = r_j + ds_j, and zeta the martingale noise of `advance_probe`, which is white given the rates,

        ds_j = noise_j[zeta] + (answer of r_j to the current dI_j),
        dI_j[n] = (perturbation that comes in) + sum_{k != j} J_jk ds_k[n - d],

    so that a neuron's noise is in what the layer hands on and, a delay later, in the input of all neurons. The loop is
    linear: perturbations pass through the same synapses and delays as the rate, without what a neuron would send to
    itself. In each step all neurons are needed; nothing is shared out among devices.
    """
    increments, incoming, layer = received(layer, increments, incoming, grid)
    recurrence = cast(Recurrence, layer.population().recurrence)
    noise = Noise(tile_keys(noise.key, layer.num_neurons), noise.num_probes)
    schedule = merge_schedule(age_mesh, layer.neuron, grid.dt)
    index = jnp.arange(len(increments), dtype=jnp.int32)
    agings = None if schedule is None else aging(schedule, index, layer.dtype)

    def advance(
        state: LoopState, inputs: StepInputs
    ) -> tuple[LoopState, tuple[Array, Array]]:
        neurons, under_way, of_probes = state
        number, increment, perturbation, step_aging = inputs
        current = matmul(increment, layer.encoder.T) + arriving(under_way)
        currents = jax.vmap(arriving)(of_probes)
        if perturbation is not None:
            currents = currents + matmul(perturbation, layer.encoder.T)
        noises = number, noise
        neurons, own = advance_neurons(
            layer, grid.dt, neurons, current, currents, noises, step_aging, None
        )
        activities = jnp.stack(own.probes)
        after = LoopState(
            neurons,
            sent(under_way, own.activity),
            jax.vmap(sent)(of_probes, activities),
        )
        decoded = matmul(own.activity, layer.decoder)
        return after, (decoded, matmul(activities, layer.decoder))

    def arriving(under_way: RecurrentState) -> Float[Array, " neurons"]:
        return recurrence.arriving(under_way, 1)[0]

    def sent(
        under_way: RecurrentState, activity: Float[Array, " neurons"]
    ) -> RecurrentState:
        return recurrence.after(under_way, activity[None], grid.dt)

    silence = recurrence.initial(grid.dt)
    # A perturbation of silence is none, whatever the synapses begin with.
    still = jax.tree.map(
        lambda x: jnp.zeros((noise.num_probes, *x.shape), x.dtype), silence
    )
    rest = at_rest(layer, grid.dt, noise.num_probes, agings)
    state = LoopState(rest, silence, still)
    rate, perturbed = checkpointed_scan(
        advance, state, (index, increments, incoming, agings)
    )
    size = layer.num_neurons
    return Fluctuations(rate / size, perturbed / size, None)
