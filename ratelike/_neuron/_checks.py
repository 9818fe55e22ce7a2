"""What a population demands of its neurons."""

import weakref

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer

from ratelike import _validation as validation
from ratelike._neuron._base import AbstractNeuronModel
from ratelike._neuron._escape_rates import check_escape_rates
from ratelike._neuron._factors import factors_are_right

# More ages than these are a mistake of units.
MOST_AGES = 1e7

_checked: "weakref.WeakValueDictionary[int, AbstractNeuronModel]" = (
    weakref.WeakValueDictionary()
)


def is_homogeneous(neuron: AbstractNeuronModel) -> bool:
    """Whether all neurons share their parameters."""
    return all(jnp.ndim(leaf) == 0 for leaf in jax.tree.leaves(neuron))


def chosen_neurons(
    neuron: AbstractNeuronModel, chosen: Integer[Array, " chosen"]
) -> AbstractNeuronModel:
    """The parameters of a part of the population."""
    return jax.tree.map(lambda leaf: leaf[chosen] if leaf.ndim > 0 else leaf, neuron)


def check_neuron(name: str, neuron: AbstractNeuronModel, num_neurons: int) -> None:
    """The parameters fit the population."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(neuron):
        if not eqx.is_array(leaf):
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} must be an array or a static field, got {validation.shown(leaf)}"
            )
        if jnp.shape(leaf) not in ((), (num_neurons,)):
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} must be a scalar or have shape ({num_neurons},), "
                f"got shape {jnp.shape(leaf)}"
            )
    check_escape_rates(name, neuron)
    _check_factors(name, neuron)


def _check_factors(name: str, neuron: AbstractNeuronModel) -> None:
    """A kernel that was moderate when the neuron was made still is. Neurons do not change: each is looked at once."""
    if _checked.get(id(neuron)) is neuron or not validation.is_concrete(neuron):
        return
    with jax.ensure_compile_time_eval():
        right = bool(factors_are_right(neuron))
    if not right:
        raise ValueError(
            f"{name} must keep the ratio of its hazard to its escape rate between exp(-45) and exp(20) at all ages, because "
            "it separates them: an SRM0 its refractory kernel between -45 and 20 escape widths, or make a new SRM0"
        )
    _checked[id(neuron)] = neuron


def check_dead_time(name: str, neuron: AbstractNeuronModel, dt: float) -> None:
    """The dead time is a multiple of the time step (to one part in 10^4 of a step), and fits the static fields."""
    for end, each in neuron.types.items():
        _check_dead_time_of_type(name + end, each, dt)


def _check_dead_time_of_type(name: str, neuron: AbstractNeuronModel, dt: float) -> None:
    shortest, memory = neuron.shortest_dead_time, neuron.memory
    if memory / dt > MOST_AGES:
        raise ValueError(
            f"{name}.memory must be at most {MOST_AGES:g} steps of dt = {dt:g} s, got {memory:g} s; times are in seconds"
        )
    dead_times = np.asarray([shortest])
    if validation.is_concrete(neuron.dead_time):
        dead_times = np.unique(np.asarray(neuron.dead_time, dtype=float))
    # A dead time stored in float32 is off by a rounding error; a grid that does not fit is off by much more.
    off = np.abs(dead_times / dt - np.round(dead_times / dt)) > 1e-4
    if np.any(off):
        raise ValueError(
            f"{name}.dead_time must be a multiple of the step dt = {dt:g} s, got {dead_times[off][0]:g} s"
        )
    # An edit of the array alone (`eqx.tree_at`) leaves the static fields behind, and the spikes would be wrong.
    if np.any(dead_times < shortest * (1.0 - 1e-6)):
        raise ValueError(
            f"{name}.dead_time must be at least its shortest_dead_time = {shortest:g} s, got {dead_times.min():g} s; "
            "make a new neuron to shorten it"
        )
    if np.any(dead_times * (1.0 - 1e-6) > memory):
        raise ValueError(
            f"{name}.dead_time must be at most its memory = {memory:g} s, got {dead_times.max():g} s"
        )


def check_can_fire(name: str, neuron: AbstractNeuronModel) -> None:
    """The neuron is no stand-in of the rate dynamics."""
    if not neuron.can_spike:
        raise ValueError(
            f"{name} must be a neuron that spikes, got {type(neuron).__name__}, which stands for one in the rate "
            "dynamics"
        )


def check_renewal(name: str, neuron: AbstractNeuronModel, what: str) -> None:
    """The neuron remembers no spike but its last."""
    if not neuron.is_renewal:
        raise ValueError(
            f"{name} must remember nothing but its last spike for {what}, got {type(neuron).__name__}"
        )
