"""A layer with its fluctuations: block after block of neurons, each over all of time."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ratelike._fluctuations._density import (
    Density,
    Step,
    acting_between,
    density_at_rest,
    react,
    shift,
    shift_mark,
)
from ratelike._fluctuations._moments import advance_moments, no_spikes_yet
from ratelike._fluctuations._probes import (
    advance_probe,
    random_signs,
    transition_deviation,
)
from ratelike._network import Layer
from ratelike._neuron._ages import ages
from ratelike._numerics._checkpointed_scan import checkpointed_scan
from ratelike._numerics._products import matmul
from ratelike._numerics._tile_random import TILE, num_tiles, tile_keys
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import leak_of

# Neurons that advance together: their densities, one for each probe, have to stay in the processor's cache.
NEURONS_AT_ONCE = 4 * TILE


class Noise(eqx.Module):
    """The neurons of a layer add their own noise to the probes."""

    key: Array
    num_probes: int = eqx.field(static=True)


class Readout(eqx.Module):
    """The variance of which membrane trace to compute, and how it adds up over neurons."""

    tau_m: Float[Array, ""]  # s, of the output membrane
    weights: Float[Array, "neurons columns"]


class LayerFluctuations(NamedTuple):
    """What a layer hands on, decoded and divided by its number of neurons."""

    increments: Float[Array, "time latents"]  # of the generalised rate
    probes: Float[Array, "time probes latents"] | None  # perturbations of them
    variance: Float[Array, "time columns"] | None  # as `Readout` asks


def layer_fluctuations(
    layer: Layer,
    increments: Float[Array, "time latents"],
    incoming: Float[Array, "time probes latents"] | None,
    grid: TimeGrid,
    *,
    noise: Noise | None,
    readout: Readout | None,
) -> LayerFluctuations:
    """Runs the generalised rate of `layer`, beside it the linearised answer to the probes that come in.

    No density is stored over time, and none of more than `NEURONS_AT_ONCE` neurons exists at a time.
    """
    num_neurons = layer.num_neurons
    num_blocks = -(-num_neurons // NEURONS_AT_ONCE)
    size = num_neurons
    if num_blocks > 1:
        size = TILE * -(-num_tiles(num_neurons) // num_blocks)

    def cut(leaf):
        # What fills the last block copies a neuron.
        padding = [(0, num_blocks * size - num_neurons)] + [(0, 0)] * (leaf.ndim - 1)
        padded = jnp.pad(leaf, padding, mode="edge")
        return padded.reshape(num_blocks, size, *leaf.shape[1:])

    own, shared = eqx.partition((layer, readout), lambda leaf: leaf.ndim > 0)
    # The copies count for nothing.
    counts = jnp.arange(num_blocks * size).reshape(num_blocks, size, 1) < num_neurons
    keys = None
    if noise is not None:
        keys = tile_keys(noise.key, num_blocks * size).reshape(num_blocks, -1)

    def one_block(total, inputs):
        own, counts, keys = inputs
        layer, readout = eqx.combine(own, shared)
        layer = _counted(layer, lambda x: x.decoder, counts)
        readout = _counted(readout, lambda x: x.weights, counts)
        block_noise = None if noise is None else Noise(keys, noise.num_probes)
        outputs = _run(layer, increments, incoming, grid, block_noise, readout)
        return jax.tree.map(jnp.add, total, outputs), None

    one_block = jax.checkpoint(one_block, prevent_cse=False)
    inputs = (jax.tree.map(cut, own), counts, keys)
    nothing = _no_output(layer, increments, incoming, noise, readout)
    total, _ = jax.lax.scan(one_block, nothing, inputs)
    rate, perturbed, variance = total
    return LayerFluctuations(
        rate / num_neurons,
        None if perturbed is None else perturbed / num_neurons,
        None if variance is None else variance / num_neurons**2,
    )


def _counted(tree, where, counts: Bool[Array, "neurons 1"]):
    if tree is None:
        return None
    return eqx.tree_at(where, tree, jnp.where(counts, where(tree), 0.0))


def _no_output(layer, increments, incoming, noise, readout) -> LayerFluctuations:
    num_steps, num_probes = len(increments), _num_probes(incoming, noise)
    latents, dtype = layer.decoder.shape[-1], layer.decoder.dtype
    probes = variance = None
    if num_probes:
        probes = jnp.zeros((num_steps, num_probes, latents), dtype)
    if readout is not None:
        variance = jnp.zeros((num_steps, readout.weights.shape[-1]), dtype)
    return LayerFluctuations(jnp.zeros((num_steps, latents), dtype), probes, variance)


def _num_probes(incoming, noise: Noise | None) -> int:
    if incoming is not None:
        return incoming.shape[1]
    return 0 if noise is None else noise.num_probes


def _run(layer, increments, incoming, grid, noise, readout) -> LayerFluctuations:
    """All of time for neurons that fit into the cache."""
    neuron, dt = layer.neuron, grid.dt
    age = ages(neuron, dt, layer.encoder.dtype)
    leak = leak_of(neuron.tau_m, dt)
    num_probes = _num_probes(incoming, noise)

    def advance(state, inputs):
        density, probes, moments = state
        index, increment, perturbation = inputs
        push = leak.push(matmul(increment, layer.encoder.T))
        potential = layer.bias + leak.after(density.potential - layer.bias, push)
        acting = acting_between(neuron, density.potential, potential)
        step = react(neuron, age, dt, density, acting)
        variance = perturbed = None
        if readout is not None:
            membrane = leak_of(readout.tau_m, dt)
            moments = advance_moments(moments, step, *membrane)
            # Rounding may leave a neuron that fires like a clock with slightly less than no variance.
            variance = matmul(jnp.maximum(moments.variance, 0.0), readout.weights)
        if probes:
            currents = noises = [None] * num_probes
            if incoming is not None:
                currents = list(leak.push(matmul(perturbation, layer.encoder.T)))
            if noise is not None:
                noises = _noises(noise, index, step)
            pairs = [
                advance_probe(*each, density, step, acting, neuron, leak)
                for each in zip(probes, currents, noises, strict=True)
            ]
            probes, activities = zip(*pairs, strict=True)
            perturbed = matmul(jnp.stack(activities), layer.decoder)
        mark = shift_mark(neuron.mark(acting.potential), density.mark, step.survivors)
        density = Density(potential, shift(step.activity, step.survivors), mark)
        activity = matmul(step.activity, layer.decoder)
        return (density, probes, moments), LayerFluctuations(
            activity, perturbed, variance
        )

    density = density_at_rest(neuron, layer.bias, len(age))
    # A tuple, not one array: sums over a leading axis, of which reverse mode is full, are slow on a CPU.
    probes = (jax.tree.map(jnp.zeros_like, density),) * num_probes
    moments = None if readout is None else no_spikes_yet(density.age_distribution)
    index = jnp.arange(len(increments), dtype=jnp.int32)
    return checkpointed_scan(
        advance, (density, probes, moments), (index, increments, incoming)
    )


def _noises(noise: Noise, index, step: Step) -> list[Float[Array, "ages neurons"]]:
    deviation = transition_deviation(step)
    num_ages, size = deviation.shape
    signs = random_signs(noise.key, index, noise.num_probes, num_ages, deviation.dtype)
    return [deviation * sign[:, :size] for sign in signs]
