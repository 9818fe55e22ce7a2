"""Which numbers of a network are trained."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from ratelike._network import Network
from ratelike._network._feedback import each_feedback
from ratelike._training._domains import AbstractDomain, Part, Unconstrained
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
            "it; to train some of its entries, return ratelike.train.Part(array, index)"
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
    chosen: list[tuple[int, AbstractDomain]] = []
    for index, domain in _calls(where, placeholders):
        name = names[index]
        if _is_without(domain) and index not in unbounded:
            raise ValueError(
                f"where must give {name} a domain, ratelike.train.Positive(...) or ratelike.train.Unconstrained(...): "
                "what is neither encoder, decoder nor bias may have values that make no sense"
            )
        if name.endswith(".dead_time"):
            raise ValueError(
                f"where must not choose {name}: a dead time is a multiple of the time step and has no derivative"
            )
        domain = Unconstrained(None) if domain is None else domain
        _check(name, leaves[index], domain)
        others = [other for number, other in chosen if number == index]
        _check_apart(name, leaves[index], [*others, domain])
        chosen.append((index, domain))
    if not chosen:
        raise ValueError("where must choose at least one array, got none")
    chosen.sort(key=lambda pair: pair[0])
    indices, domains = zip(*chosen, strict=True)
    return Trained(network, indices, domains)


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
        for placeholder, domain in _domains_of(node):
            if not isinstance(placeholder, _Placeholder):
                raise ValueError(
                    f"where must return arrays of the network as they are, got {placeholder!r}"
                )
            yield placeholder.index, domain


def _domains_of(node: PyTree) -> Iterator[tuple[Any, AbstractDomain | None]]:
    """What a domain marks, each with the domain alone; a `Part` keeps the domain that is in it."""
    if not isinstance(node, AbstractDomain):
        yield node, None
        return
    marked = jax.tree.leaves(
        node.trained, is_leaf=lambda inner: isinstance(inner, AbstractDomain)
    )
    for each in marked:
        holds_one = isinstance(node, Part) and not isinstance(each, Part)
        if isinstance(each, AbstractDomain) and not holds_one:
            raise ValueError(
                f"where must not give an array two domains, got {type(each).__name__} within {type(node).__name__}; "
                "only ratelike.train.Part(domain, index) holds another"
            )
        for placeholder, inner in _domains_of(each):
            yield placeholder, dataclasses.replace(node, trained=inner)


def _is_without(domain: AbstractDomain | None) -> bool:
    """Whether nothing was said of the values."""
    return (domain.trained if isinstance(domain, Part) else domain) is None


def _check(name: str, leaf: Any, domain: AbstractDomain) -> None:
    is_array = isinstance(leaf, (jax.Array, np.ndarray))
    if not is_array or not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise ValueError(f"where must choose arrays of numbers, got {name} = {leaf!r}")
    domain.check(name, jnp.asarray(leaf))


def _check_apart(name: str, leaf: Any, domains: list[AbstractDomain]) -> None:
    """No entry of an array is trained twice."""
    if len(domains) == 1:
        return
    start = jnp.asarray(leaf)
    everything = np.ones(start.shape, bool)
    parts = [
        each.chosen(start) if isinstance(each, Part) else everything for each in domains
    ]
    if np.any(np.sum(parts, axis=0) > 1):
        raise ValueError(f"where must choose every array once, got {name} twice")


def _connections(placeholders: Network) -> set[int]:
    """Encoders, decoders and biases, which may take any value."""
    arrays = [[each.encoder, each.decoder, each.bias] for each in placeholders.layers]
    for layer in placeholders.layers:
        loops = each_feedback(layer.feedback)
        arrays += [[each.encoder, each.decoder] for each in loops]
    return {each.index for each in jax.tree.leaves(arrays)}
