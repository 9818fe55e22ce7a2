"""Which numbers of a network are trained, and the values that they may take."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NoReturn

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Float, PyTree

from ratelike import _validation as validation
from ratelike._network import Network

Where = Callable[[Network], PyTree]


class AbstractDomain(eqx.Module):
    """Marks what is trained, within `where`, with the values that it may take.

    The optimiser moves a number x that may take any value; `value` is what the network gets.
    """

    trained: eqx.AbstractVar[PyTree]

    @abc.abstractmethod
    def check(self, name: str, start: Array) -> None:
        """Raises `ValueError` if `start` is not in the domain."""

    @abc.abstractmethod
    def initial(self, start: Array) -> Array:
        """The x at which the value is `start`."""

    @abc.abstractmethod
    def value(self, start: Array, x: Array) -> Array:
        """The value in the network."""


class Unconstrained(AbstractDomain):
    """Any number: x itself."""

    trained: PyTree

    def check(self, name: str, start: Array) -> None:
        pass

    def initial(self, start: Array) -> Array:
        return start

    def value(self, start: Array, x: Array) -> Array:
        return x


class Positive(AbstractDomain):
    """Positive numbers, such as a time constant, a rate or a width: start exp(x), with x = 0 at the start.

    So steps are relative, whatever the unit, and no step leaves the domain: a value that would under- or overflow stays
    at the smallest or largest normal number.
    """

    trained: PyTree

    def check(self, name: str, start: Array) -> None:
        validation.parameter(name, start, above=0.0)

    def initial(self, start: Array) -> Array:
        return jnp.zeros_like(start)

    def value(self, start: Array, x: Array) -> Array:
        limits = jnp.finfo(start.dtype)
        return jnp.clip(start * jnp.exp(x), limits.tiny, limits.max)


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


class _Place:
    """Stands for one array of the network while `where` chooses; not a number, so that it cannot be computed with."""

    def __init__(self, index: int, name: str):
        self.index, self.name = index, name

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            f"where must return arrays of the network as they are, got a part of {self.name} or something computed from "
            "it; to train some of its entries, choose all of it, and hold the others fixed in loss with "
            "jax.lax.stop_gradient"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # by which libraries ask what this is
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
    paths = [jtu.keystr(path) for path, _ in jtu.tree_leaves_with_path(network)]
    leaves, structure = jax.tree.flatten(network)
    names = [f"network{path}" for path in paths]
    places = jax.tree.unflatten(structure, map(_Place, range(len(leaves)), names))
    try:
        returned = where(places)
    except (TypeError, AttributeError, LookupError) as error:
        raise ValueError(
            f"where must return arrays of the network that it is given, as they are, got {error!r}"
        ) from error
    chosen = jax.tree.leaves(
        returned, is_leaf=lambda node: isinstance(node, AbstractDomain)
    )
    free = _free(places)
    domains: dict[int, AbstractDomain] = {}
    for node in chosen:
        marked = isinstance(node, AbstractDomain)
        for place in jax.tree.leaves(node.trained if marked else node):
            if not isinstance(place, _Place):
                raise ValueError(
                    f"where must return arrays of the network as they are, got {place!r}"
                )
            name = names[place.index]
            if not marked and place.index not in free:
                raise ValueError(
                    f"where must give {name} a domain, ratelike.Positive(...) or ratelike.Unconstrained(...): "
                    "what is neither encoder, decoder nor bias may have values that make no sense"
                )
            if place.index in domains:
                raise ValueError(
                    f"where must choose every array once, got {name} twice"
                )
            domain = (
                dataclasses.replace(node, trained=None)
                if marked
                else Unconstrained(None)
            )
            _check(name, leaves[place.index], domain)
            domains[place.index] = domain
    if not domains:
        raise ValueError("where must choose at least one array, got none")
    for index in _dead_times(places):
        if index in domains:
            raise ValueError(
                f"where must not choose {names[index]}: a dead time is a multiple of the time step and has no "
                "derivative"
            )
    order = sorted(domains)
    return Trained(network, tuple(order), tuple(domains[index] for index in order))


def _check(name: str, leaf: Any, domain: AbstractDomain) -> None:
    is_array = isinstance(leaf, (jax.Array, np.ndarray))
    if not is_array or not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise ValueError(f"where must choose arrays of numbers, got {name} = {leaf!r}")
    domain.check(name, jnp.asarray(leaf))


def _free(places: Network) -> set[int]:
    arrays = [[each.encoder, each.decoder, each.bias] for each in places.layers]
    return {place.index for place in jax.tree.leaves(arrays)}


def _dead_times(places: Network) -> set[int]:
    """A dead time that the neuron computes rather than stores is no place."""
    found = set()
    for layer in places.layers:
        try:
            place = layer.neuron.dead_time
        except (TypeError, ValueError):
            continue
        if isinstance(place, _Place):
            found.add(place.index)
    return found
