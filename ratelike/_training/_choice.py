"""Which numbers of a network are trained."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from ratelike._network import Network
from ratelike._training._domains import AbstractDomain, Unconstrained
from ratelike._training._trained import Trained
from ratelike._types import PyTree

Where = Callable[[Network], PyTree]


class _Placeholder:
    """Takes the place of an array of the network while `where` chooses; it is no number, so that nothing can be computed from it."""

    def __init__(self, index: int, name: str) -> None:
        self.index, self.name = index, name

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            f"where must return arrays of the network as they are, got a part of {self.name} or something computed from "
            "it; to train some of its entries, choose all of it, and hold the others fixed in loss with "
            "jax.lax.stop_gradient"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # by these names libraries ask what an object is
            raise AttributeError(name)
        self._refuse()

    __array__ = _refuse  # for NumPy's functions
    __getitem__ = __setitem__ = __iter__ = __len__ = __bool__ = __float__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __pos__ = __abs__ = _refuse
    __add__ = __sub__ = __mul__ = __matmul__ = __truediv__ = __pow__ = _refuse
    __radd__ = __rsub__ = __rmul__ = __rmatmul__ = __rtruediv__ = __rpow__ = _refuse


def choose(network: Network, where: Where) -> Trained:
    """What `where` returns, as `Trained`.

    Raises `ValueError` where nothing is chosen, something is chosen twice or is no array of floating-point numbers,
    lies outside its domain, or is a dead time; and for neuron constants that come without a domain.
    """
    if not callable(where):
        raise ValueError(f"where must be a function of a network, got {where!r}")
    leaves, structure = jax.tree.flatten(network)
    names = [
        "network" + jtu.keystr(path) for path, _ in jtu.tree_leaves_with_path(network)
    ]
    placeholders = jax.tree.unflatten(
        structure, map(_Placeholder, range(len(leaves)), names)
    )
    unbounded = _connections(placeholders)
    domains: dict[int, AbstractDomain] = {}
    for index, domain in _calls(where, placeholders):
        name = names[index]
        if domain is None and index not in unbounded:
            raise ValueError(
                f"where must give {name} a domain, ratelike.train.Positive(...) or ratelike.train.Unconstrained(...): "
                "what is neither encoder, decoder nor bias may have values that make no sense"
            )
        if index in domains:
            raise ValueError(f"where must choose every array once, got {name} twice")
        domains[index] = Unconstrained(None) if domain is None else domain
        _check(name, leaves[index], domains[index])
    if not domains:
        raise ValueError("where must choose at least one array, got none")
    for index in domains:
        if names[index].endswith(".dead_time"):
            raise ValueError(
                f"where must not choose {names[index]}: a dead time is a multiple of the time step and has no "
                "derivative"
            )
    order = sorted(domains)
    return Trained(network, tuple(order), tuple(domains[index] for index in order))


def _calls(
    where: Where, placeholders: Network
) -> Iterator[tuple[int, AbstractDomain | None]]:
    """The index of each array that `where` returns, and the domain that it comes with."""
    try:
        returned = where(placeholders)
    except (TypeError, AttributeError, LookupError) as error:
        raise ValueError(
            f"where must return arrays of the network that it is given, as they are, got {error!r}"
        ) from error
    chosen = jax.tree.leaves(
        returned, is_leaf=lambda node: isinstance(node, AbstractDomain)
    )
    for node in chosen:
        arrays, domain = node, None
        if isinstance(node, AbstractDomain):
            arrays, domain = node.trained, dataclasses.replace(node, trained=None)
        for placeholder in jax.tree.leaves(arrays):
            if not isinstance(placeholder, _Placeholder):
                raise ValueError(
                    f"where must return arrays of the network as they are, got {placeholder!r}"
                )
            yield placeholder.index, domain


def _check(name: str, leaf: Any, domain: AbstractDomain) -> None:
    is_array = isinstance(leaf, (jax.Array, np.ndarray))
    if not is_array or not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise ValueError(f"where must choose arrays of numbers, got {name} = {leaf!r}")
    domain.check(name, jnp.asarray(leaf))


def _connections(placeholders: Network) -> set[int]:
    """Encoders, decoders and biases, which may take any value."""
    arrays = [[each.encoder, each.decoder, each.bias] for each in placeholders.layers]
    return {each.index for each in jax.tree.leaves(arrays)}
