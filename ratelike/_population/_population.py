"""What runs: neurons that advance together, with the connections that they use."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ratelike._neuron import AbstractNeuronModel
from ratelike._population._coding import decode, encode, in_tiles
from ratelike._population._recurrence import Recurrence
from ratelike._population._sums import tree_sum


class Decoded(eqx.Module):
    """Sums over the neurons of a population, for each step (and for each tile, where tiles belong to several networks)."""

    columns: Float[Array, "*time_and_tiles columns"]
    num_parts: int = eqx.field(static=True, default=0)

    @property
    def latents(self) -> Float[Array, "*time_and_tiles latents"]:
        """sum_j D_j s_j."""
        return self.columns[..., : -1 - self.num_parts]

    @property
    def spikes(self) -> Float[Array, "*time_and_tiles"]:
        """sum_j s_j."""
        return self.columns[..., -1 - self.num_parts]

    @property
    def spikes_of_parts(self) -> Float[Array, "*time_and_tiles parts"]:
        """The same over the neurons of each part of the population that is counted by itself."""
        return self.columns[..., self.columns.shape[-1] - self.num_parts :]


class Population(eqx.Module):
    """The neurons of a layer, those of a chunk of it, or those of one layer of several networks that run as one.

    The neurons lie in tiles of `TILE`, the last of which may be incomplete. Where a chunk reaches beyond the last neuron
    of its layer, copies of a neuron fill it up, which decode to nothing. `is_packed` says that each tile has a path of
    its own, because tiles belong to several networks, and that sums over tiles are kept apart. `copies` says that so many
    populations of equal size run side by side, each with connections and a path of its own. The spikes of `num_parts`
    parts are counted by themselves.
    """

    neuron: AbstractNeuronModel
    bias: Float[Array, " neurons"]
    encoder: Float[Array, "*copies tiles latents tile"]
    # Of the latents, of the spikes, and of those of each part.
    decoder: Float[Array, "*copies tiles tile columns"]
    recurrence: Recurrence | None
    is_packed: bool = eqx.field(static=True)
    copies: int | None = eqx.field(static=True, default=None)
    num_parts: int = eqx.field(static=True, default=0)

    @property
    def num_neurons(self) -> int:
        return self.bias.shape[0]

    def currents(
        self, increments: Float[Array, "time *tiles latents"]
    ) -> Float[Array, "time neurons"]:
        """dI_i = sum_k E_ik dX_k."""
        if self.copies is None:
            return encode(increments, self.encoder, self.num_neurons)
        each = functools.partial(encode, num_neurons=self.num_neurons // self.copies)
        currents = jax.vmap(each, (1, 0), 1)(increments, self.encoder)
        return currents.reshape(len(increments), self.num_neurons)

    def decode(self, activity: Float[Array, "time neurons"]) -> Decoded:
        """Sums over neurons, in an order that does not depend on what else is computed beside them."""
        if self.copies is None:
            of_tiles = decode(self.decoder, activity)
            sums = of_tiles if self.is_packed else tree_sum(of_tiles)
            return Decoded(sums, self.num_parts)
        copies = activity.reshape(len(activity), self.copies, -1)
        of_tiles = jax.vmap(decode, (0, 1), 1)(self.decoder, copies)
        return Decoded(jax.vmap(tree_sum, 1, 1)(of_tiles), self.num_parts)


def population_of(
    neuron: AbstractNeuronModel,
    bias: Float[Array, " neurons"],
    encoder: Float[Array, "neurons latents"],
    decoder: Float[Array, "neurons latents_out"],
    *,
    counts: Float[Array, " neurons"] | None = None,
    parts: Bool[Array, "neurons parts"] | None = None,
    exists: Bool[Array, " neurons"] | None = None,
    recurrence: Recurrence | None = None,
    is_packed: bool = False,
) -> Population:
    """From rows of connections. Each neuron counts once, or as `counts` says; where it does not `exists`, for nothing.

    `parts` says which neurons belong to each part that is counted by itself.
    """
    counts = jnp.ones_like(decoder[:, 0]) if counts is None else counts
    columns, num_parts = jnp.concatenate([decoder, counts[:, None]], axis=1), 0
    if parts is not None:
        of_parts = jnp.where(parts, counts[:, None], 0.0)
        columns, num_parts = jnp.concatenate([columns, of_parts], 1), parts.shape[1]
    if exists is not None:
        columns = jnp.where(exists[:, None], columns, 0.0)
    return Population(
        neuron=neuron,
        bias=bias,
        encoder=jnp.swapaxes(in_tiles(encoder), 1, 2),
        decoder=in_tiles(columns),
        recurrence=recurrence,
        is_packed=is_packed,
        num_parts=num_parts,
    )
