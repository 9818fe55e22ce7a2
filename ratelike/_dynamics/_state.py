"""The state of a network between two steps."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractContinuingDynamics, AbstractDynamics
from ratelike._network import AbstractLayer, Network
from ratelike._population._layer_state import AbstractLayerState
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree


class State(eqx.Module):
    """All that a run needs to go on: `trajectory.final`, for `simulate(..., initial=)`.

    Potentials, ages or densities, marks, feedback on its way, output membranes, and the number of the step. What is in
    `layers` depends on the dynamics; each entry has the `potential` (neurons,) of its neurons.
    """

    layers: tuple[AbstractLayerState, ...]
    synapses: tuple[PyTree, ...]  # of what comes into each layer
    outputs: Float[Array, " latents"]  # output membranes
    step: Integer[Array, ""]  # number of the next step
    dt: float = eqx.field(static=True)  # s


def checked_grid(state: State, grid: TimeGrid) -> TimeGrid:
    """The grid with the number of its first step, as far as that is known."""
    if not math.isclose(state.dt, grid.dt, rel_tol=1e-9):
        raise ValueError(
            f"grid.dt must be that of the run that initial comes from, {state.dt:g} s, got {grid.dt:g} s"
        )
    if not validation.is_concrete(state.step) or jnp.ndim(state.step) != 0:
        return grid
    step = int(state.step)
    if grid.first_step not in (0, step):
        raise ValueError(
            f"grid.first_step must be 0 or the step with which initial goes on, {step}, got {grid.first_step}"
        )
    return TimeGrid(grid.dt, grid.num_steps, step)


def check_goes_on(
    dynamics: AbstractDynamics,
    network: Network,
    grid: TimeGrid,
    initial: State | None,
) -> None:
    """Raises `ValueError` unless a run under the dynamics can go on from a state, and from this one if there is one."""
    if not isinstance(dynamics, AbstractContinuingDynamics):
        raise ValueError(
            f"dynamics must be an AbstractContinuingDynamics for keep_final and initial, got {validation.shown(dynamics)}"
        )
    if initial is not None:
        for name in ("layers", "synapses"):
            if len(getattr(initial, name)) != network.depth:
                raise ValueError(
                    f"initial must have the {network.depth} layers of the network, got {len(initial.layers)}"
                )
        latents = (network.layers[-1].num_latents_out,)
        validation.shape("initial.outputs", initial.outputs, latents)
    for index, layer in enumerate(network.layers):
        state = None
        if initial is not None:
            name, state = f"initial.layers[{index}]", initial.layers[index]
            validation.instance(name, state, AbstractLayerState)
            _check_size(name, state, layer, grid.dt)
            name = f"initial.synapses[{index}]"
            _check_synapse(name, initial.synapses[index], layer, grid.dt)
        dynamics.check_state(f"network.layers[{index}]", state, layer, grid)


def _check_size(
    name: str, state: AbstractLayerState, layer: AbstractLayer, dt: float
) -> None:
    sizes = {jnp.shape(leaf)[-1] for leaf in jax.tree.leaves(state.neurons)}
    if sizes != {layer.num_neurons}:
        raise ValueError(
            f"{name} must have the {layer.num_neurons} neurons of the layer, got {max(sizes)}"
        )
    under_way = getattr(state.shared, "under_way", None)
    own = None
    if layer.feedback is not None:  # a population is not made for nothing
        own = eqx.filter_eval_shape(_under_way, layer, dt)
    if state.shared is None:
        if own is not None:
            raise ValueError(
                f"{name} must come from a run, because the layer has feedback: constant input does not say what is on its way"
            )
    elif _shapes(under_way) != _shapes(own):
        raise ValueError(
            f"{name} must come from a layer with the same delays of feedback, got {validation.shown(_shapes(under_way))} "
            f"for {validation.shown(_shapes(own))}"
        )


def _check_synapse(name: str, state: PyTree, layer: AbstractLayer, dt: float) -> None:
    own = None
    if layer.synapse is not None:
        shape = (layer.num_latents,)
        own = eqx.filter_eval_shape(layer.synapse.initial, shape, layer.dtype, dt)
    if _shapes(state) != _shapes(own):
        raise ValueError(
            f"{name} must come from a layer with a synapse of this kind, got a state of shapes {_shapes(state)} for {_shapes(own)}"
        )


def _under_way(layer: AbstractLayer, dt: float) -> PyTree:
    recurrence = layer.population().recurrence
    return None if recurrence is None else recurrence.initial(dt)


def _shapes(tree: PyTree) -> list[tuple[int, ...]]:
    return [tuple(leaf.shape) for leaf in jax.tree.leaves(tree)]
