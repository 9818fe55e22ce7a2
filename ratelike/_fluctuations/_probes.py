"""Linear noise: what finite numbers of neurons do to the layers that follow."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ratelike._fluctuations._density import Density, Step, shift, shift_mark
from ratelike._neuron import AbstractNeuron
from ratelike._random import TILE, tile_keys


def no_perturbation(density: Density, num_probes: int) -> Density:
    return jax.tree.map(
        lambda x: jnp.zeros((num_probes, *x.shape), x.dtype), density
    )


def advance_probes(
    probes: Density,
    density: Density,
    step: Step,
    neuron: AbstractNeuron,
    noise: Float[Array, "probes ages neurons"] | None,
    is_driven: bool,
) -> tuple[Float[Array, "probes neurons"], Float[Array, "probes ages neurons"], PyTree]:
    r"""The linearised step of the density, with martingale noise zeta of as many neurons as there are:

        dP'_{k+1} = (1 - p_k) dP_k - P_k dp_k - zeta_k,     dP'_0 = ds = sum_k (p_k dP_k + P_k dp_k + zeta_k).

    A neuron is a Markov chain in age, and zeta, of variance P_k p_k (1 - p_k) and independent over ages, steps and
    neurons, is the noise of its transitions: dP and ds have exactly the covariances of independent neurons, whatever
    else the law of zeta. dp_k is the answer to fluctuations of the input, None where there are none (`is_driven`).

    Returns ds, dP' and the perturbed mark.
    """
    fired = step.probability * probes.age_distribution
    if is_driven:
        answer = jax.vmap(step.perturb)(probes.potential, probes.mark)
        fired = fired + step.distribution * answer
    if noise is not None:
        fired = fired + noise
    activity = jnp.sum(fired, axis=-2)
    survivors = probes.age_distribution - fired

    def mark_after(potential, mark, survivors):
        return shift_mark(neuron.mark(potential), mark, survivors)

    def perturbed_mark(potential, mark, left):
        primals = (density.potential, density.mark, step.survivors)
        return jax.jvp(mark_after, primals, (potential, mark, left))[1]

    mark = jax.vmap(perturbed_mark)(probes.potential, probes.mark, survivors)
    return activity, shift(activity, survivors), mark


def martingale_noise(step: Step, signs: Array) -> Float[Array, "probes ages neurons"]:
    """Random signs times the standard deviation of a transition."""
    variance = step.survivors * step.probability
    # A square root has no derivative at 0, and an age that nobody has needs none.
    occurs = variance > 0.0
    deviation = jnp.where(occurs, jnp.sqrt(jnp.where(occurs, variance, 1.0)), 0.0)
    return jnp.where(signs, deviation, -deviation)


def random_signs(
    keys: Array, index: Array, num_probes: int, num_ages: int, num_neurons: int
) -> Array:
    """Fair booleans (probes, ages, neurons) for step `index`, 32 of them from each random word.

    They belong to their neuron: `keys` holds one key for each tile of the neurons.
    """

    def words(tile_key):
        step_key = jax.random.fold_in(tile_key, index)
        shape = (num_probes, num_ages, TILE // 32)
        return jax.random.bits(step_key, shape, dtype=jnp.uint32)

    tiles = jnp.moveaxis(jax.vmap(words)(keys), 0, 2)
    bits = (tiles[..., None] >> jnp.arange(32, dtype=jnp.uint32)) & jnp.uint32(1)
    return bits.reshape(num_probes, num_ages, -1)[..., :num_neurons] > 0
