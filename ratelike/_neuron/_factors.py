"""Whether a hazard may be computed as a product of two factors."""

import math
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ratelike._neuron._base import AbstractNeuronModel, Elementwise

# In escape widths, and how many ages are looked at.
LOWEST_RATIO, HIGHEST_RATIO = -45.0, 20.0
AGES = 257

T = TypeVar("T")


def is_moderate(
    ratio: Elementwise, shortest_dead_time: float, memory: float
) -> Bool[Array, ""]:
    """Whether both factors keep to numbers whose product is right, at all ages."""
    ages = np.linspace(shortest_dead_time, memory, AGES)
    ratios = ratio(jnp.asarray(ages[:, None], jnp.result_type(float)))
    lowest, highest = math.exp(LOWEST_RATIO), math.exp(HIGHEST_RATIO)
    return (jnp.min(ratios) >= lowest) & (jnp.max(ratios) < 0.999 * highest)


def factors_are_right(neuron: AbstractNeuronModel) -> Bool[Array, ""]:
    """Whether a neuron that separates its hazard may do so, whatever its parameters have become since it was made."""
    right = jnp.asarray(True)
    for each in neuron.types.values():
        each = in_one_precision(each)
        factors = each.separate()
        if factors is not None:
            right &= is_moderate(factors.ratio, each.shortest_dead_time, each.memory)
    return right


def in_one_precision(tree: T) -> T:
    """Parameters of several floating-point types are not yet cast to one of them."""
    floats, rest = eqx.partition(tree, eqx.is_inexact_array)
    dtype = jnp.result_type(float)
    return eqx.combine(jax.tree.map(lambda leaf: leaf.astype(dtype), floats), rest)
