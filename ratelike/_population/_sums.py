"""Sums over the chunks of a population in one binary tree, whatever memory and devices there are."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, PyTree

from ratelike._population._host_threads import (
    HostThreads,
    call_compiled,
    map_in_threads,
)
from ratelike._population._layer_state import AbstractLayerState

# Of the number of a chunk, and of arrays that all chunks share.
RunChunk = Callable[..., PyTree]


class SideBySide(eqx.Module):
    """The states of chunks, which are not added up."""

    state: AbstractLayerState


# What chunks are shared out among: devices, or threads; None for neither.
Workers = Mesh | HostThreads | None


def caller(workers: Workers) -> Callable[..., Any]:
    """`call(function, *arguments)` for what surrounds a sum: among threads nothing is traced, and it is a program."""
    return call_compiled if isinstance(workers, HostThreads) else _call


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def run_with(workers: Workers, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments, workers)`: as one program, or with threads as it stands, since it calls programs itself."""
    if isinstance(workers, HostThreads):
        return function(*arguments, workers)
    return _as_one_program(function, *arguments, workers)


@eqx.filter_jit
def _as_one_program(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


# Sums that are kept side by side before they are added; a power of two, so that the tree stays the same.
KEPT_SUMS = 64
# So many and fewer sums are apart for each thread, which takes the next when it has finished one.
CHUNKS_OF_A_THREAD = 8


def tree_sum(terms: Float[Array, "time terms *rest"]) -> Float[Array, "time *rest"]:
    """Neighbours first, in a binary tree: whole branches can be added apart without changing a bit."""
    while terms.shape[1] > 1:
        if terms.shape[1] % 2 == 1:
            padding = [(0, 0), (0, 1)] + [(0, 0)] * (terms.ndim - 2)
            terms = jnp.pad(terms, padding)
        terms = terms[:, 0::2] + terms[:, 1::2]
    return terms[:, 0]


def sum_over_chunks(
    run_chunk: RunChunk, count: int, workers: Workers = None, *arrays: PyTree[Array]
) -> PyTree:
    """run_chunk(0, *arrays) + ... + run_chunk(count - 1, *arrays), leaf by leaf; of truth values, whether all hold.

    What is `SideBySide` is put side by side instead.

    The chunks run one after the other, or shared out among the devices of a mesh, on all of which the result is, or
    among threads, for which `run_chunk` is a pytree. Memory grows with the logarithm of `count`. Leaves are arrays over
    time, or truth values. With a mesh, what is to be differentiated and may itself be such a sum has to be among
    `arrays`: JAX does not differentiate it where `run_chunk` closes over it.
    """
    if workers is None:
        run_chunk, count = _grouped(run_chunk, count, KEPT_SUMS, at_most=KEPT_SUMS)
        return _sum(map_over_chunks(run_chunk, count, None, *arrays))
    if isinstance(workers, HostThreads):
        at_most = max(KEPT_SUMS, CHUNKS_OF_A_THREAD * workers.number)
        run_chunk, count = _grouped(run_chunk, count, 2, at_most=at_most)
        chunks = map_in_threads(run_chunk, count, workers, *arrays)
        return call_compiled(_sum_of, chunks)
    at_most = KEPT_SUMS * workers.size
    run_chunk, count = _grouped(run_chunk, count, 2, at_most=at_most)
    return _sum(map_over_chunks(_or_zero(run_chunk, count), count, workers, *arrays))


def map_over_chunks(
    run_chunk: RunChunk, count: int, workers: Workers, *arrays: PyTree[Array]
) -> PyTree:
    """run_chunk(0, *arrays), ..., run_chunk(count - 1, *arrays), stacked; shared out among `workers`."""
    if isinstance(workers, HostThreads):
        return call_compiled(
            _stacked, map_in_threads(run_chunk, count, workers, *arrays)
        )
    if workers is None:
        numbers = jnp.arange(count, dtype=jnp.int32)
        return jax.lax.map(lambda index: run_chunk(index, *arrays), numbers)
    each = -(-count // workers.size)
    # A caller's mesh may have explicit axes, of which nothing here speaks.
    mesh = Mesh(workers.devices, workers.axis_names)

    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=PartitionSpec(),
        out_specs=PartitionSpec(),
        # What a chunk draws and solves is not known to be the same or different on devices.
        check_vma=False,
    )
    def on_each_device(*arrays: PyTree[Array]) -> PyTree:
        first = jax.lax.axis_index(mesh.axis_names) * each
        mine = first.astype(jnp.int32) + jnp.arange(each, dtype=jnp.int32)
        outputs = jax.lax.map(lambda index: run_chunk(index, *arrays), mine)
        return jax.lax.all_gather(outputs, mesh.axis_names, tiled=True)

    return jax.tree.map(lambda x: x[:count], on_each_device(*arrays))


def _grouped(
    run_chunk: RunChunk, count: int, group: int, *, at_most: int
) -> tuple[RunChunk, int]:
    """Sums of `group` neighbours, of groups of groups and so on, until there are no more than `at_most`."""
    while count > at_most:
        run_chunk, count = _of_groups(run_chunk, count, group), -(-count // group)
    return run_chunk, count


def _of_groups(run_chunk: RunChunk, count: int, group: int) -> RunChunk:
    return eqx.Partial(_run_group, _or_zero(run_chunk, count), group)


def _run_group(
    run_chunk: RunChunk, group: int, index: Int[Array, ""], *arrays: PyTree[Array]
) -> PyTree:
    members = index * group + jnp.arange(group, dtype=jnp.int32)
    return _sum(jax.lax.map(lambda member: run_chunk(member, *arrays), members))


def _or_zero(run_chunk: RunChunk, count: int) -> RunChunk:
    """Beyond the last chunk there is nothing to run and nothing to add."""
    return eqx.Partial(_run_or_zero, run_chunk, count)


def _run_or_zero(
    run_chunk: RunChunk, count: int, index: Int[Array, ""], *arrays: PyTree[Array]
) -> PyTree:
    shapes = jax.eval_shape(run_chunk, index, *arrays)

    def zero(*_: PyTree[Array]) -> PyTree:
        return jax.tree.map(_zero, shapes)

    def run(*operands: PyTree[Array]) -> PyTree:
        return run_chunk(*operands)

    return jax.lax.cond(index < count, run, zero, index, *arrays)


def _zero(shape: jax.ShapeDtypeStruct) -> Array:
    """What adds nothing: zeros, or truth."""
    make = jnp.ones if shape.dtype == jnp.bool_ else jnp.zeros
    return make(shape.shape, shape.dtype)


def _sum_of(chunks: list[PyTree]) -> PyTree:
    return _sum(_stacked(chunks))


def _stacked(chunks: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *each: jnp.stack(each), *chunks)


def _sum(chunks: PyTree) -> PyTree:
    """Over the leading axis."""

    def of_node(node: Array | SideBySide) -> Array | SideBySide:
        if isinstance(node, SideBySide):
            return SideBySide(_joined_states(node.state))
        if node.dtype == jnp.bool_:
            return jnp.all(node, axis=0)
        return tree_sum(jnp.swapaxes(node, 0, 1))

    return jax.tree.map(
        of_node, chunks, is_leaf=lambda node: isinstance(node, SideBySide)
    )


def _joined_states(states: AbstractLayerState) -> AbstractLayerState:
    def join(chunks: Array) -> Array:
        chunks = jnp.moveaxis(chunks, 0, -2)
        return chunks.reshape(*chunks.shape[:-2], -1)

    neurons = jax.tree.map(join, states.neurons)
    shared = jax.tree.map(lambda chunks: chunks[0], states.shared)
    return eqx.tree_at(
        lambda s: (s.neurons, s.shared),
        states,
        (neurons, shared),
        is_leaf=lambda x: x is None,
    )
