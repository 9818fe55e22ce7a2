"""The state that constant input leads to."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._dynamics._state import State
from ratelike._network import Network, check_population
from ratelike._neuron import _renewal as renewal
from ratelike._neuron import check_renewal
from ratelike._numerics._casting import cast_to
from ratelike._numerics._products import matmul
from ratelike._population._layer_state import SettledState
from ratelike._types import Numbers


class StationaryState(eqx.Module):
    """See `stationary_state`."""

    input: Float[Array, " latents"]


def stationary_state(network: Network, input: Numbers) -> StationaryState:
    r"""The state of a network that has had the constant `input` x (latents,) for a long time, for `simulate(..., initial=)`.

    `input` is a signal, in units of the latents: the potentials of the first layer are h = bias + E x, and those of the
    next follow from the signal that it hands on, (1/N) sum_j D_j g_j(h_j), with g the stationary rate on the grid of the
    run. Densities are those of constant input in closed form, P_k in proportion to the survivors S_k; the ages of spiking
    neurons are drawn from them, with the key of the run. So no time has to be left out at the beginning of a run.

        grid = rl.TimeGrid(1e-3, 1000)
        x = jnp.ones(2)
        start = rl.stationary_state(network, x)
        increments = jnp.broadcast_to(x * grid.dt, (grid.num_steps, 2))
        rl.simulate(network, increments, grid, rl.Spiking(), key=key, initial=start).rates  # flat from the first step

    On a graded `AgeMesh` the probabilities of ages are added up within each bin. The number of the step is 0.

    Raises `ValueError` for layers with feedback, whose constant signals depend on themselves, for neurons that remember
    more than their last spike, and for an input that is not finite or not (latents,).
    """
    validation.instance("network", network, Network)
    input = validation.parameter("input", input)
    validation.shape("input", input, (network.layers[0].num_latents,))
    for index, layer in enumerate(network.layers):
        name = f"network.layers[{index}]"
        check_population(name, layer, "a stationary state")
        check_renewal(f"{name}.neuron", layer.neuron, "a stationary state")
        if layer.feedback is not None:
            raise ValueError(
                f"{name}.feedback must be None for stationary_state, got {validation.shown(layer.feedback)}"
            )
    return StationaryState(input)


@eqx.filter_jit
def settled_state(network: Network, start: StationaryState, dt: float) -> State:
    """On the grid, where the rates of neurons depend on the step."""
    dtype = network.layers[0].dtype
    network, signal = cast_to((network.stored(), start.input), dtype)
    layers, synapses = [], []
    for layer in network.layers:
        synapse = layer.synapse
        synapses.append(None if synapse is None else synapse.settled(signal, dt))
        potential = layer.bias + matmul(layer.encoder, signal)
        layers.append(SettledState(potential, None))
        rate = renewal.stationary_rate(layer.neuron, potential, dt)
        signal = matmul(rate, layer.decoder) / layer.num_neurons
    return State(tuple(layers), tuple(synapses), signal, jnp.zeros((), jnp.int32), dt)
