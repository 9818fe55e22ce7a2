"""The neurons of several populations as those of one layer."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ratelike import _validation as validation
from ratelike._network._connection import Neurons
from ratelike._neuron import AbstractNeuronModel, Mixture, check_neuron


def neurons_together(populations: Mapping[str, Neurons]) -> AbstractNeuronModel:
    """One neuron, with arrays for parameters in which populations differ; a `Mixture` where they differ in more than that."""
    for name, each in populations.items():
        check_neuron(f"populations[{name!r}].neuron", each.neuron, each.number)
    numbers = [each.number for each in populations.values()]
    neurons = [each.neuron for each in populations.values()]
    kinds: list[list[int]] = []
    for index, neuron in enumerate(neurons):
        structure = jax.tree.structure(neuron)
        for kind in kinds:
            if jax.tree.structure(neurons[kind[0]]) == structure:
                kind.append(index)
                break
        else:
            kinds.append([index])
    types = [_joined(neurons, numbers, kind) for kind in kinds]
    if len(types) == 1:
        return types[0]
    of_population = np.zeros(len(neurons), int)
    for number, kind in enumerate(kinds):
        of_population[kind] = number
    return Mixture(types, np.repeat(of_population, numbers))


def _joined(
    neurons: Sequence[AbstractNeuronModel], numbers: Sequence[int], kind: Sequence[int]
) -> AbstractNeuronModel:
    """The populations of one kind as one neuron, with arrays of all neurons where they differ."""

    def together(*leaves: Array) -> Array:
        if _is_one(leaves):
            return leaves[0]
        # Entries of the other populations are never read.
        own = dict(zip(kind, leaves, strict=True))
        rows = [
            jnp.broadcast_to(own.get(index, leaves[0].reshape(-1)[0]), (number,))
            for index, number in enumerate(numbers)
        ]
        return jnp.concatenate(rows)

    return jax.tree.map(together, *(neurons[index] for index in kind))


def _is_one(leaves: Sequence[Array]) -> bool:
    """Whether all neurons share the number."""
    if any(leaf.ndim > 0 for leaf in leaves):
        return False
    if any(leaf is not leaves[0] for leaf in leaves) and not validation.is_concrete(
        leaves
    ):
        return False
    return all(leaf is leaves[0] or bool(leaf == leaves[0]) for leaf in leaves)
