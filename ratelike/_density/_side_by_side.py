"""A batch of inputs to the same neurons, as more neurons: in parts that stay in cache, as those of a layer do.

`vmap` would make of a batch an axis before that of the bins: the sum over bins would be a small product for each input,
and the batch as a whole would leave the cache.
"""

import dataclasses
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._density._renewal_problem import RenewalProblem
from ratelike._neuron import chosen_neurons
from ratelike._numerics._broadcasting import broadcasts
from ratelike._types import PyTree


def side_by_side(
    function: Callable[[RenewalProblem, PyTree], PyTree],
    problem: RenewalProblem,
    rest: PyTree[Array],
    *,
    at_once: int | None,
    join: Callable[[PyTree], PyTree],
    split: Callable[[PyTree, int], PyTree],
) -> PyTree:
    """`function(problem, rest)`; under `vmap`, of about `at_once` neurons with several inputs together.

    `join` makes one of the `rest` of several inputs, and `split` several of the results, which are so many.
    """
    arrays, static = eqx.partition(problem, eqx.is_array)
    fits = at_once is not None and _is_single(problem)

    @broadcasts
    def one(arrays: PyTree[Array], rest: PyTree[Array]) -> PyTree:
        return function(eqx.combine(arrays, static), rest)

    run = jax.custom_batching.custom_vmap(one)

    @run.def_vmap
    @broadcasts
    def _(
        axis_size: int,
        in_batched: Sequence[PyTree[bool]],
        arrays: PyTree[Array],
        rest: PyTree[Array],
    ) -> tuple[PyTree, PyTree[bool]]:
        neuron, of_batch = arrays.population.neuron, tuple(in_batched)
        if (
            at_once is None
            or not fits
            or any(jax.tree.leaves(of_batch[0].population.neuron))
        ):
            axes = jax.tree.map(lambda varies: 0 if varies else None, of_batch)
            results = jax.vmap(one, axes, axis_size=axis_size)(arrays, rest)
            return results, jax.tree.map(lambda _: True, results)

        def together(arrays: PyTree[Array], rest: PyTree[Array]) -> PyTree:
            problem = _joined(eqx.combine(arrays, static), neuron)
            return split(function(problem, join(rest)), len(arrays.path))

        def batched(x: Array, varies: bool) -> Array:
            return x if varies else jnp.broadcast_to(x, (axis_size, *x.shape))

        others = eqx.tree_at(lambda p: p.population.neuron, arrays, None)
        of_others = eqx.tree_at(lambda p: p.population.neuron, of_batch[0], None)
        batch = jax.tree.map(batched, (others, rest), (of_others, of_batch[1]))
        most = max(1, at_once // problem.population.num_neurons)
        results = _in_parts(together, batch, axis_size, most)
        return results, jax.tree.map(lambda _: True, results)

    return run(arrays, rest)


def _is_single(problem: RenewalProblem) -> bool:
    population = problem.population
    return not population.is_packed and population.copies is None


def _in_parts(
    function: Callable[..., PyTree], batch: PyTree[Array], size: int, most: int
) -> PyTree[Array]:
    """A batch in equal parts of at most so many members, one part after the other; copies of the last member fill up the last."""
    num_parts = -(-size // most)
    if num_parts == 1:
        return function(*batch)
    each = -(-size // num_parts)
    members = jnp.minimum(jnp.arange(num_parts * each, dtype=jnp.int32), size - 1)
    members = members.reshape(num_parts, each)
    results = jax.lax.map(
        lambda part: function(*jax.tree.map(lambda x: x[part], batch)), members
    )
    return jax.tree.map(
        lambda x: x.reshape(num_parts * each, *x.shape[2:])[:size], results
    )


def _joined(problem: RenewalProblem, neuron: PyTree) -> RenewalProblem:
    """The problem of several inputs, of which all but the neuron has an axis."""
    population = problem.population
    copies, num_neurons = population.bias.shape
    everyone = jnp.tile(jnp.arange(num_neurons, dtype=jnp.int32), copies)
    population = dataclasses.replace(
        population,
        neuron=chosen_neurons(eqx.combine(neuron, population.neuron), everyone),
        bias=join_neurons(population.bias),
        copies=copies,
    )
    path = jnp.moveaxis(problem.path, 0, 2)
    return dataclasses.replace(problem, population=population, path=path)


def join_neurons(x: Float[Array, "copies *rest neurons"]) -> Float[Array, "*rest all"]:
    x = jnp.moveaxis(x, 0, -2)
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


def split_neurons(
    x: Float[Array, "*rest all"], copies: int
) -> Float[Array, "copies *rest neurons"]:
    x = x.reshape(*x.shape[:-1], copies, x.shape[-1] // copies)
    return jnp.moveaxis(x, -2, 0)
