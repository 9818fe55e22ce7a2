"""A network in two parts: what is trained, and the rest."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Float

from ratelike._network import Network
from ratelike._training._domains import AbstractDomain


class Trained(eqx.Module):
    """A network in two parts: what is trained, each array with its domain, and the rest."""

    network: Network  # at the start
    indices: tuple[int, ...] = eqx.field(static=True)  # of trained leaves
    domains: tuple[AbstractDomain, ...]  # of each

    @property
    def names(self) -> list[str]:
        paths = [path for path, _ in jtu.tree_leaves_with_path(self.network)]
        return ["network" + jtu.keystr(paths[index]) for index in self.indices]

    def initial(self) -> list[Float[Array, "..."]]:
        """The network as it was given."""
        leaves = jax.tree.leaves(self.network)
        return [
            domain.initial(jnp.asarray(leaves[index]))
            for index, domain in zip(self.indices, self.domains, strict=True)
        ]

    def network_at(self, x: list[Float[Array, "..."]]) -> Network:
        leaves, structure = jax.tree.flatten(self.network)
        for index, domain, each in zip(self.indices, self.domains, x, strict=True):
            leaves[index] = domain.value(leaves[index], each)
        return jax.tree.unflatten(structure, leaves)
