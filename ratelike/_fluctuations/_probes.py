"""Linear noise: what finite numbers of neurons do to the layers that follow."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Integer, UInt32

from ratelike._fluctuations._density import (
    Acting,
    Density,
    Shift,
    Step,
    shift_mark,
)
from ratelike._neuron import AbstractNeuronModel
from ratelike._numerics._tile_random import TILE
from ratelike._signal._membrane import Leak
from ratelike._types import PyTree


def advance_probe(
    probe: Density,
    current: Float[Array, " neurons"] | None,
    noise: Float[Array, "ages neurons"] | None,
    density: Density,
    step: Step,
    acting: Acting,
    neuron: AbstractNeuronModel,
    leak: Leak,
    shift: Shift,
) -> tuple[Density, Float[Array, " neurons"]]:
    r"""The linearised step of the density, with martingale noise zeta of as many neurons as there are:

        dP'_{k+1} = (1 - p_k) dP_k - P_k dp_k - zeta_k,     dP'_0 = ds = sum_k (p_k dP_k + P_k dp_k + zeta_k).

    A neuron is a Markov chain in age, and zeta, of variance P_k p_k (1 - p_k) and independent over ages, steps and
    neurons, is the noise of its transitions: dP and ds have exactly the covariances of independent neurons, whatever
    else the law of zeta. dp_k answers fluctuations of the input, of which `current` is the scaled increment of this
    step (None if there are none). Returns the perturbation after the step, and ds.
    """
    fired = step.probability * probe.age_distribution
    potential = change = probe.potential
    if current is not None:
        potential = leak.after(probe.potential, current)
        change = acting.by_start * probe.potential + acting.by_end * potential
        by_potential, by_mark = step.slopes
        fired = fired + step.distribution * by_potential * change
        for slope, mark in zip(
            jax.tree.leaves(by_mark), jax.tree.leaves(probe.mark), strict=True
        ):
            fired = fired + step.distribution * slope * mark
    if noise is not None:
        fired = fired + noise
    activity = jnp.sum(fired, axis=0)
    survivors = probe.age_distribution - fired

    def mark_after(
        potential: Float[Array, " neurons"],
        mark: PyTree[Float[Array, "ages neurons"]],
        survivors: Float[Array, "ages neurons"],
    ) -> PyTree[Float[Array, "ages neurons"]]:
        return shift_mark(neuron.mark(potential), mark, survivors)

    _, mark = jax.jvp(
        mark_after,
        (acting.potential, density.mark, step.survivors),
        (change, probe.mark, survivors),
    )
    return Density(potential, shift(activity, survivors), mark), activity


def transition_deviation(step: Step) -> Float[Array, "ages neurons"]:
    """The standard deviation of zeta, sqrt(P_k p_k (1 - p_k))."""
    variance = step.survivors * step.probability
    # A square root has no derivative at 0, and an age without mass needs none.
    return jnp.sqrt(jnp.maximum(variance, jnp.finfo(variance.dtype).tiny))


def random_signs(
    keys: Array,
    index: Integer[Array, ""],
    num_probes: int,
    num_ages: int,
    dtype: DTypeLike,
) -> list[Float[Array, "ages neurons"]]:
    """Fair signs +1 and -1 of step `index`, one list entry for each probe; each random word gives 32 of them.

    They belong to their neuron: `keys` holds one key for each tile of neurons.
    """
    num_words = -(-num_ages // 32)

    def draw(tile_key: Array) -> UInt32[Array, "probes words tile"]:
        step_key = jax.random.fold_in(tile_key, index)
        return jax.random.bits(step_key, (num_probes, num_words, TILE), jnp.uint32)

    tiles = jnp.moveaxis(jax.vmap(draw)(keys), 0, 2)
    return [_signs(words)[:num_ages].astype(dtype) for words in tiles]


def _signs(words: UInt32[Array, "words tiles tile"]) -> Float32[Array, "ages neurons"]:
    """Each bit of a word becomes the sign of 1.0 at one age of its neuron."""
    # Without a branch, and with the bits of a word along the ages, the loop over neurons is vectorised.
    positions = jnp.arange(32, dtype=jnp.uint32)[:, None]
    words = words.reshape(len(words), 1, -1)
    sign_bits = (words << positions) & jnp.uint32(0x80000000)
    signs = jax.lax.bitcast_convert_type(
        sign_bits | jnp.uint32(0x3F800000), jnp.float32
    )
    return signs.reshape(-1, words.shape[-1])
