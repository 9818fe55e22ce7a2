"""Sums over the parts of a population in one binary tree, whatever memory and devices there are."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Integer, PyTree

Sum = tuple[Float[Array, "time decoded"], Bool[Array, ""]]  # and whether all succeeded
RunPart = Callable[[Integer[Array, ""]], Sum]

# Sums that are kept side by side before they are added; a power of two, so that the tree stays the same.
GROUP = 64


def tree_sum(terms: Float[Array, "time tiles decoded"]) -> Float[Array, "time decoded"]:
    """Neighbours first, in a binary tree: whole branches can be added apart without changing a bit."""
    while terms.shape[1] > 1:
        if terms.shape[1] % 2 == 1:
            terms = jnp.pad(terms, ((0, 0), (0, 1), (0, 0)))
        terms = terms[:, 0::2] + terms[:, 1::2]
    return terms[:, 0]


def sum_over_parts(run_part: RunPart, count: int) -> Sum:
    """The sum of run_part(0), ..., run_part(count - 1); memory grows with the logarithm of `count`."""
    run_part, count = _in_groups(run_part, count, GROUP, at_most=GROUP)
    return _add(jax.lax.map(run_part, jnp.arange(count, dtype=jnp.int32)))


def sum_over_devices(run_part: RunPart, count: int, mesh: Mesh) -> Sum:
    """The same with the parts shared out among devices, on all of which the result is."""
    run_part, count = _in_groups(run_part, count, 2, at_most=GROUP * mesh.size)
    each = -(-count // mesh.size)
    # A caller's mesh may have explicit axes, of which nothing here speaks.
    mesh = Mesh(mesh.devices, mesh.axis_names)

    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(),
        out_specs=PartitionSpec(),
        # What a part draws and solves is not known to be the same or different on devices.
        check_vma=False,
    )
    def on_each_device() -> Sum:
        first = jax.lax.axis_index(mesh.axis_names) * each
        mine = first.astype(jnp.int32) + jnp.arange(each, dtype=jnp.int32)
        sums = jax.lax.map(_or_nothing(run_part, count), mine)
        gathered = jax.tree.map(
            lambda x: jax.lax.all_gather(x, mesh.axis_names, tiled=True)[:count], sums
        )
        return _add(gathered)

    return on_each_device()


def map_over_devices(
    run: Callable[[PyTree], PyTree], inputs: PyTree, mesh: Mesh | None
) -> PyTree:
    """`jax.lax.map(run, inputs)` with the inputs shared out among devices, on all of which the result is."""
    if mesh is None:
        return jax.lax.map(run, inputs)
    count = len(jax.tree.leaves(inputs)[0])
    padded = -(-count // mesh.size) * mesh.size
    inputs = jax.tree.map(
        lambda x: jnp.take(x, jnp.arange(padded), axis=0, mode="clip"), inputs
    )
    mesh = Mesh(mesh.devices, mesh.axis_names)

    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=PartitionSpec(mesh.axis_names),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    def on_each_device(mine):
        return jax.lax.all_gather(jax.lax.map(run, mine), mesh.axis_names, tiled=True)

    return jax.tree.map(lambda x: x[:count], on_each_device(inputs))


def _in_groups(
    run_part: RunPart, count: int, group: int, *, at_most: int
) -> tuple[RunPart, int]:
    """Sums of `group` neighbours, of groups of groups and so on, until there are no more than `at_most`."""
    while count > at_most:
        run_part, count = _grouped(run_part, count, group), -(-count // group)
    return run_part, count


def _grouped(run_part: RunPart, count: int, group: int) -> RunPart:
    one = _or_nothing(run_part, count)

    def run_group(index):
        return _add(
            jax.lax.map(one, index * group + jnp.arange(group, dtype=jnp.int32))
        )

    return run_group


def _or_nothing(run_part: RunPart, count: int) -> RunPart:
    """Beyond the last part there is nothing to run and nothing to add."""
    shapes = jax.eval_shape(run_part, jnp.zeros((), jnp.int32))

    def nothing(index):
        return jnp.zeros(shapes[0].shape, shapes[0].dtype), jnp.asarray(True)

    def one(index):
        return jax.lax.cond(index < count, run_part, nothing, index)

    return one


def _add(sums: tuple[Float[Array, "parts time decoded"], Bool[Array, " parts"]]) -> Sum:
    decoded, succeeded = sums
    return tree_sum(jnp.swapaxes(decoded, 0, 1)), jnp.all(succeeded)
