"""Neurons that advance together, over all of time: their rate, what they pass on of fluctuations, and their own."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer

from ratelike._fluctuations._cohorts import (
    Aging,
    shift_cohorts,
    shift_masses,
)
from ratelike._fluctuations._density import (
    Density,
    Shift,
    Step,
    acting_between,
    density_at_rest,
    react,
    shift_mark,
)
from ratelike._fluctuations._density import (
    shift as shift_ages,
)
from ratelike._fluctuations._moments import Moments, advance_moments, no_spikes_yet
from ratelike._fluctuations._probes import (
    advance_probe,
    random_signs,
    transition_deviation,
)
from ratelike._network import Layer
from ratelike._neuron import AbstractNeuronModel
from ratelike._neuron._ages import ages, in_seconds
from ratelike._numerics._checkpointed_scan import checkpointed_scan
from ratelike._numerics._products import matmul
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import leak_of


class Noise(eqx.Module):
    """The neurons of a layer add their own noise to the probes."""

    key: Array  # of the layer; within a block the keys of its tiles
    num_probes: int = eqx.field(static=True)


class Readout(eqx.Module):
    """The variance of which membrane trace to compute, and how it adds up over neurons."""

    tau_m: Float[Array, ""]  # s, of the output membrane
    decoder_products: Float[Array, "neurons columns"]  # D_jk D_jl


class Fluctuations(NamedTuple):
    """What neurons hand on, decoded."""

    increments: Float[Array, "time latents_out"]  # of the generalised rate
    # perturbations of them
    probes: Float[Array, "time probes latents_out"] | None
    variance: Float[Array, "time columns"] | None  # as `Readout` asks


class State(NamedTuple):
    """What a step changes."""

    density: Density
    # A tuple, not one array: sums over a leading axis, of which reverse mode is full, are slow on a CPU.
    probes: tuple[Density, ...]
    moments: Moments | None


class Own(NamedTuple):
    """What each neuron does in a step."""

    activity: Float[Array, " neurons"]  # expected spikes
    probes: tuple[Float[Array, " neurons"], ...]  # perturbations of it
    variance: Float[Array, " neurons"] | None  # of the membrane trace of `Readout`


StepInputs = tuple[
    Integer[Array, ""],  # number of the step
    Float[Array, " latents"],
    Float[Array, "probes latents"] | None,
    Aging | None,
]


def run_block(
    layer: Layer,
    increments: Float[Array, "time latents"],
    incoming: Float[Array, "time probes latents"] | None,
    grid: TimeGrid,
    noise: Noise | None,
    readout: Readout | None,
    agings: Aging | None,
) -> Fluctuations:
    """The generalised rate of neurons, beside it the linearised answer to the probes that come in, and their noise."""
    num_probes = number_of_probes(incoming, noise)

    def advance(state: State, inputs: StepInputs) -> tuple[State, Fluctuations]:
        index, increment, perturbation, step_aging = inputs
        current = matmul(increment, layer.encoder.T)
        currents = None
        if perturbation is not None:
            currents = matmul(perturbation, layer.encoder.T)
        noises = index, noise
        state, own = advance_neurons(
            layer, grid.dt, state, current, currents, noises, step_aging, readout
        )
        activity, activities, variance = own
        perturbed = None
        if activities:
            perturbed = matmul(jnp.stack(activities), layer.decoder)
        if readout is not None and variance is not None:
            variance = matmul(variance, readout.decoder_products)
        decoded = matmul(activity, layer.decoder)
        return state, Fluctuations(decoded, perturbed, variance)

    state = at_rest(layer, grid.dt, num_probes, agings)
    if readout is not None:
        moments = no_spikes_yet(state.density.age_distribution)
        state = state._replace(moments=moments)
    index = jnp.arange(len(increments), dtype=jnp.int32)
    return checkpointed_scan(advance, state, (index, increments, incoming, agings))


def at_rest(layer: Layer, dt: float, num_probes: int, agings: Aging | None) -> State:
    """Neurons that have never fired, and no fluctuations."""
    neuron = layer.neuron
    num_ages = len(ages(neuron, dt, layer.encoder.dtype))
    num_ages = num_ages if agings is None else agings.age.shape[-1]
    density = density_at_rest(neuron, layer.bias, num_ages)
    probes = (jax.tree.map(jnp.zeros_like, density),) * num_probes
    return State(density, probes, None)


def advance_neurons(
    layer: Layer,
    dt: float,
    state: State,
    current: Float[Array, " neurons"],
    currents: Float[Array, "probes neurons"] | None,
    noises: tuple[Integer[Array, ""], Noise | None],
    step_aging: Aging | None,
    readout: Readout | None,
) -> tuple[State, Own]:
    """One step with the currents that come in, and those of the perturbations; `noises` says the number of the step."""
    neuron, leak = layer.neuron, leak_of(layer.neuron.tau_m, dt)
    density, probes, moments = state
    age, shift, shift_mass = _aged(neuron, layer.encoder.dtype, step_aging, dt)
    push = leak.push(current)
    potential = layer.bias + leak.after(density.potential - layer.bias, push)
    acting = acting_between(neuron, density.potential, potential)
    step = react(neuron, age, dt, density, acting)
    variance = None
    if readout is not None and moments is not None:
        moments = advance_moments(moments, step, leak_of(readout.tau_m, dt), shift)
        # Rounding may leave a neuron that fires like a clock with slightly less than no variance.
        variance = jnp.maximum(moments.variance, 0.0)
    activities = ()
    if probes:
        pushes = zetas = [None] * len(probes)
        if currents is not None:
            pushes = list(leak.push(currents))
        index, noise = noises
        if noise is not None:
            zetas = _noises(noise, index, step)
        each = zip(probes, pushes, zetas, strict=True)
        common = density, step, acting, neuron, leak, shift
        pairs = [advance_probe(*own, *common) for own in each]
        probes, activities = zip(*pairs, strict=True)
    mark = shift_mark(neuron.mark(acting.potential), density.mark, step.survivors)
    density = Density(potential, shift_mass(step.activity, step.survivors), mark)
    state = State(density, tuple(probes), moments)
    return state, Own(step.activity, activities, variance)


def _aged(
    neuron: AbstractNeuronModel,
    dtype: DTypeLike,
    step_aging: Aging | None,
    dt: float,
) -> tuple[Float[Array, "rows 1"], Shift, Shift]:
    """The age of each row in a step, and how the density and its masses move."""
    if step_aging is None:
        return ages(neuron, dt, dtype), shift_ages, shift_ages
    age = in_seconds(neuron, step_aging.age[:, None], dt)
    shift = functools.partial(shift_cohorts, aging=step_aging)
    return age, shift, functools.partial(shift_masses, aging=step_aging)


def number_of_probes(
    incoming: Float[Array, "time probes latents"] | None, noise: Noise | None
) -> int:
    if incoming is not None:
        return incoming.shape[1]
    return 0 if noise is None else noise.num_probes


def _noises(
    noise: Noise, index: Integer[Array, ""], step: Step
) -> list[Float[Array, "ages neurons"]]:
    deviation = transition_deviation(step)
    num_ages, size = deviation.shape
    signs = random_signs(noise.key, index, noise.num_probes, num_ages, deviation.dtype)
    return [deviation * sign[:, :size] for sign in signs]
