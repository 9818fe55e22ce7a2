"""Neurons that advance together, over all of time: their rate, what they pass on of fluctuations, and their own."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
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
    neuron, dt = layer.neuron, grid.dt
    exact = ages(neuron, dt, layer.encoder.dtype)
    num_ages = len(exact) if agings is None else agings.age.shape[-1]
    leak = leak_of(neuron.tau_m, dt)
    num_probes = number_of_probes(incoming, noise)

    def advance(state: State, inputs: StepInputs) -> tuple[State, Fluctuations]:
        density, probes, moments = state
        index, increment, perturbation, step_aging = inputs
        age, shift, shift_mass = _aged(neuron, exact, step_aging, dt)
        push = leak.push(matmul(increment, layer.encoder.T))
        potential = layer.bias + leak.after(density.potential - layer.bias, push)
        acting = acting_between(neuron, density.potential, potential)
        step = react(neuron, age, dt, density, acting)
        variance = perturbed = None
        if readout is not None and moments is not None:
            moments = advance_moments(moments, step, leak_of(readout.tau_m, dt), shift)
            # Rounding may leave a neuron that fires like a clock with slightly less than no variance.
            variance = matmul(
                jnp.maximum(moments.variance, 0.0), readout.decoder_products
            )
        if probes:
            currents = noises = [None] * num_probes
            if perturbation is not None:
                currents = list(leak.push(matmul(perturbation, layer.encoder.T)))
            if noise is not None:
                noises = _noises(noise, index, step)
            each = zip(probes, currents, noises, strict=True)
            common = density, step, acting, neuron, leak, shift
            pairs = [advance_probe(*own, *common) for own in each]
            probes, activities = zip(*pairs, strict=True)
            perturbed = matmul(jnp.stack(activities), layer.decoder)
        mark = shift_mark(neuron.mark(acting.potential), density.mark, step.survivors)
        density = Density(potential, shift_mass(step.activity, step.survivors), mark)
        activity = matmul(step.activity, layer.decoder)
        state = State(density, tuple(probes), moments)
        return state, Fluctuations(activity, perturbed, variance)

    density = density_at_rest(neuron, layer.bias, num_ages)
    probes = (jax.tree.map(jnp.zeros_like, density),) * num_probes
    moments = None if readout is None else no_spikes_yet(density.age_distribution)
    index = jnp.arange(len(increments), dtype=jnp.int32)
    return checkpointed_scan(
        advance, State(density, probes, moments), (index, increments, incoming, agings)
    )


def _aged(
    neuron: AbstractNeuronModel,
    exact: Float[Array, "ages 1"],
    step_aging: Aging | None,
    dt: float,
) -> tuple[Float[Array, "rows 1"], Shift, Shift]:
    """The age of each row in a step, and how the density and its masses move."""
    if step_aging is None:
        return exact, shift_ages, shift_ages
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
