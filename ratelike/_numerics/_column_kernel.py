"""The kernel of a `ColumnScan`, in Pallas for Triton."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas
from jaxtyping import Array, Int

from ratelike._numerics._kernel_tile import KernelTile, is_list, triton
from ratelike._types import PyTree

# What Pallas has a lowering of for Triton, as far as it occurs in functions of one neuron.
SUPPORTED = frozenset(
    [
        "abs",
        "add",
        "add_any",
        "and",
        "bitcast_convert_type",
        "broadcast_in_dim",
        "ceil",
        "clamp",
        "convert_element_type",
        "cos",
        "custom_jvp_call",
        "div",
        "eq",
        "exp",
        "exp2",
        "expm1",
        "floor",
        "ge",
        "gt",
        "integer_pow",
        "iota",
        "is_finite",
        "jit",
        "le",
        "log",
        "log1p",
        "logistic",
        "lt",
        "max",
        "min",
        "mul",
        "ne",
        "neg",
        "not",
        "or",
        "pjit",
        "pow",
        "reduce_max",
        "reduce_min",
        "reduce_sum",
        "rem",
        "reshape",
        "rsqrt",
        "select_n",
        "shift_left",
        "shift_right_arithmetic",
        "shift_right_logical",
        "sign",
        "sin",
        "sqrt",
        "square",
        "squeeze",
        "sub",
        "tanh",
        "xor",
    ]
)


def supports(
    body: Callable[..., PyTree],
    neurons_each: int,
    constants: PyTree,
    carry: PyTree,
    shared: PyTree,
    rows: PyTree,
    *,
    in_rows: bool,
) -> bool:
    """Whether Pallas knows how to make a kernel of the body."""
    all_neurons = jax.tree.leaves(carry)[0].shape[-1:]
    shapes = [x.shape for x in jax.tree.leaves(constants)]
    if triton() is None or any(shape not in ((), all_neurons) for shape in shapes):
        return False

    def shape_of(x: Any, axes_before: int, is_of_neurons: bool) -> Any:
        shape = x.shape[axes_before:]
        if is_of_neurons and shape:
            shape = (*shape[:-1], neurons_each)
        if in_rows and len(shape) == (2 if is_of_neurons else 1):
            return [jax.ShapeDtypeStruct(shape[1:], x.dtype)] * shape[0]
        return jax.ShapeDtypeStruct(shape, x.dtype)

    arguments = [
        jax.tree.map(lambda x, how=how: shape_of(x, *how), tree)
        for tree, how in (
            (constants, (0, True)),
            (carry, (0, True)),
            (shared, (1, False)),
            (rows, (1, True)),
        )
    ]
    jaxpr = jax.make_jaxpr(body)(*arguments)
    return not jaxpr.consts and _primitives(jaxpr.jaxpr) <= SUPPORTED


def run_kernel(
    body: Callable[..., PyTree],
    shapes: PyTree,
    inputs: PyTree,
    *,
    neurons_each: int,
    warps: int,
    in_rows: bool,
    is_reversed: bool,
    interpret: bool,
) -> PyTree:
    """The scan as a kernel; `inputs` are constants, carry, shared and rows, `shapes` those of the results."""
    arrays, structure = jax.tree.flatten(inputs)
    num_steps = len(jax.tree.leaves(inputs[2:])[0])
    num_neurons = jax.tree.leaves(inputs[1])[0].shape[-1]
    num_programs = -(-num_neurons // neurons_each)
    final, outputs, sums = shapes

    def of_programs(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((num_steps, num_programs, *x.shape[1:]), x.dtype)

    parts = jax.tree.map(of_programs, sums)
    result_shapes, result_structure = jax.tree.flatten((final, outputs, parts))

    def kernel(*refs: Any) -> None:
        given = jax.tree.unflatten(structure, refs[: len(arrays)])
        results = jax.tree.unflatten(result_structure, refs[len(arrays) :])
        tile = KernelTile(neurons_each, num_neurons, in_rows)
        _scan(body, tile, given, results, num_steps, is_reversed)

    anywhere = pallas.BlockSpec(memory_space=pallas.ANY)
    parameters = triton().CompilerParams(num_warps=warps, num_stages=1)
    found = pallas.pallas_call(
        kernel,
        grid=(num_programs,),
        in_specs=[anywhere] * len(arrays),
        out_specs=[anywhere] * len(result_shapes),
        out_shape=result_shapes,
        interpret=interpret,
        compiler_params=None if interpret else parameters,
    )(*arrays)
    final, outputs, parts = jax.tree.unflatten(result_structure, found)
    return final, outputs, jax.tree.map(lambda x: jnp.sum(x, axis=1), parts)


def _scan(
    body: Callable[..., PyTree],
    tile: KernelTile,
    inputs: PyTree,
    results: PyTree,
    num_steps: int,
    is_reversed: bool,
) -> None:
    """What one program does, given references to all arrays."""
    (constants, carry, shared, rows), (final, outputs, parts) = inputs, results
    constants = jax.tree.map(tile.load, constants)

    def step(turn: Int[Array, ""], carry: PyTree) -> PyTree:
        time = num_steps - 1 - turn if is_reversed else turn
        of_step = jax.tree.map(lambda ref: tile.load_shared(ref, time), shared)
        own = jax.tree.map(lambda ref: tile.load(ref, time), rows)
        carry, found, summed = body(constants, carry, of_step, own)
        _for_each(lambda ref, x: tile.store(ref, x, time), outputs, found)
        _for_each(lambda ref, x: tile.store_part(ref, x, time), parts, summed)
        return carry

    carry = jax.tree.map(tile.load, carry)
    carry = jax.lax.fori_loop(jnp.int32(0), jnp.int32(num_steps), step, carry)
    _for_each(tile.store, final, carry)


def _for_each(store: Callable[[Any, Any], None], refs: PyTree, values: PyTree) -> None:
    leaves = jax.tree.leaves(values, is_leaf=is_list)
    for ref, value in zip(jax.tree.leaves(refs), leaves, strict=True):
        store(ref, value)


def _primitives(jaxpr: Any) -> set[str]:
    found = set()
    for equation in jaxpr.eqns:
        found.add(equation.primitive.name)
        for value in equation.params.values():
            for inner in value if isinstance(value, Sequence) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    found |= _primitives(inner)
    return found
