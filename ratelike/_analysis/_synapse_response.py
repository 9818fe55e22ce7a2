"""What a synapse does on the grid to increments in proportion to z^n."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from ratelike._signal._synapse import AbstractSynapse, Delay
from ratelike._signal._synapse._sequence import SynapseSequence


def synapse_response(
    synapse: AbstractSynapse | None,
    latents: int,
    exponent: Complex[Array, ""],
    dt: float,
) -> Complex[Array, " latents"]:
    """The factor for each latent at z = exp(`exponent`), exactly: that of the continuous kernel is another one.

    One step of a synapse is linear, s' = A s + b u and y = c s + d u for each latent; the factor is d + c (z - A)^-1 b.
    """
    ones = jnp.ones(latents, exponent.dtype)
    if synapse is None:
        return ones
    if isinstance(synapse, SynapseSequence):
        for each in synapse.members:
            ones = ones * synapse_response(each, latents, exponent, dt)
        return ones
    if isinstance(synapse, Delay):
        steps = np.rint(np.atleast_1d(synapse.duration) / dt)
        return ones * jnp.exp(-exponent * jnp.asarray(steps, exponent.dtype))
    return _of_one_step(synapse, latents, exponent, dt)


def _of_one_step(
    synapse: AbstractSynapse, latents: int, exponent: Complex[Array, ""], dt: float
) -> Complex[Array, " latents"]:
    """From the matrices of one step, which unit vectors find out: latents do not mix."""
    dtype = exponent.real.dtype
    initial = synapse.initial((latents,), dtype, dt)
    leaves, structure = jax.tree.flatten(initial)
    sizes = [leaf.size // latents for leaf in leaves]

    def step(rows: Array) -> Array:
        """Of the rows of the state, and of the increments below them."""
        parts = jnp.split(rows, np.cumsum(sizes))
        state = [
            part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=False)
        ]
        after, out = synapse(jax.tree.unflatten(structure, state), parts[-1], dt)
        after = [leaf.reshape(-1, latents) for leaf in jax.tree.leaves(after)]
        return jnp.concatenate([*after, out])

    number = sum(sizes)
    units = jnp.eye(number + 1, dtype=dtype)
    units = jnp.broadcast_to(units[:, :, None], (number + 1, number + 1, latents))
    matrix = jnp.transpose(jax.vmap(step)(units), (2, 1, 0)).astype(exponent.dtype)
    own, push = matrix[:, :number, :number], matrix[:, :number, number:]
    above = jnp.expm1(exponent) * jnp.eye(number, dtype=exponent.dtype)
    resolvent = above[None] + (jnp.eye(number, dtype=exponent.dtype)[None] - own)
    inner = jnp.matmul(matrix[:, number:, :number], jnp.linalg.solve(resolvent, push))
    return (inner + matrix[:, number:, number:])[:, 0, 0]
