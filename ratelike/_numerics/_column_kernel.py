"""The kernel of a `ColumnScan`, in Pallas for Triton."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas
from jaxtyping import Array, Int

from ratelike._numerics._kernel_tile import KernelTile, triton
from ratelike._types import PyTree

# What Pallas has a lowering of for Triton, as far as it occurs in functions of one neuron.
SUPPORTED = frozenset(
    [
        "abs",
        "add",
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
    rows: Any,
    *,
    in_rows: bool,
) -> bool:
    """Whether Pallas knows how to make a kernel of the body."""
    shapes = [x.shape for x in jax.tree.leaves(constants)]
    if triton() is None or any(s not in ((), rows.shape[-1:]) for s in shapes):
        return False

    def of_tile(x: Any) -> jax.ShapeDtypeStruct:
        shape = (*x.shape[:-1], neurons_each) if x.shape else ()
        return jax.ShapeDtypeStruct(shape, x.dtype)

    def of_step(x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape[1:], x.dtype)

    def unstacked(tree: PyTree, axes: int) -> PyTree:
        return _unstacked(tree, axes) if in_rows else tree

    jaxpr = jax.make_jaxpr(body)(
        jax.tree.map(of_tile, constants),
        unstacked(jax.tree.map(of_tile, carry), 2),
        unstacked(jax.tree.map(of_step, shared), 1),
        [jax.ShapeDtypeStruct((neurons_each,), rows.dtype)] * rows.shape[1],
    )
    return not jaxpr.consts and _primitives(jaxpr.jaxpr) <= SUPPORTED


def _unstacked(shapes: PyTree, axes: int) -> PyTree:
    def of_leaf(x: jax.ShapeDtypeStruct) -> Any:
        if len(x.shape) < axes:
            return x
        return [jax.ShapeDtypeStruct(x.shape[1:], x.dtype)] * x.shape[0]

    return jax.tree.map(of_leaf, shapes)


def run_kernel(
    body: Callable[..., PyTree],
    shapes: PyTree[jax.ShapeDtypeStruct],
    *inputs: PyTree,
    neurons_each: int,
    warps: int,
    in_rows: bool,
    interpret: bool,
) -> PyTree[Array]:
    """The scan as a kernel; `inputs` are constants, carry, shared and rows, `shapes` those of the results."""
    arrays, structure = jax.tree.flatten(inputs)
    result_shapes, result_structure = jax.tree.flatten(shapes)

    def kernel(*refs: Any) -> None:
        given = jax.tree.unflatten(structure, refs[: len(arrays)])
        results = jax.tree.unflatten(result_structure, refs[len(arrays) :])
        tile = KernelTile(neurons_each, num_neurons, in_rows)
        _scan(body, tile, given, results)

    num_neurons = arrays[-1].shape[-1]
    anywhere = pallas.BlockSpec(memory_space=pallas.ANY)
    parameters = triton().CompilerParams(num_warps=warps, num_stages=1)
    found = pallas.pallas_call(
        kernel,
        grid=(-(-num_neurons // neurons_each),),
        in_specs=[anywhere] * len(arrays),
        out_specs=[anywhere] * len(result_shapes),
        out_shape=result_shapes,
        interpret=interpret,
        compiler_params=None if interpret else parameters,
    )(*arrays)
    return jax.tree.unflatten(result_structure, found)


def _scan(
    body: Callable[..., PyTree],
    tile: KernelTile,
    inputs: PyTree,
    results: PyTree,
) -> None:
    """What one program does, given references to all arrays."""
    (constants, carry, shared, rows), (final, outputs) = inputs, results
    num_steps, num_rows, _ = rows.shape
    constants = jax.tree.map(tile.load, constants)

    def step(time: Int[Array, ""], carry: PyTree) -> PyTree:
        of_step = jax.tree.map(lambda ref: tile.seen(ref, time), shared)
        own = [tile.load_row(rows, time, k) for k in range(num_rows)]
        carry, found = body(constants, carry, of_step, own)
        of_leaves = jax.tree.leaves(found, is_leaf=_is_list)
        for ref, found_rows in zip(jax.tree.leaves(outputs), of_leaves, strict=True):
            for k, row in enumerate(found_rows):
                tile.store_row(ref, row, time, k)
        return carry

    carry = jax.tree.map(tile.load, carry)
    carry = jax.lax.fori_loop(jnp.int32(0), jnp.int32(num_steps), step, carry)
    jax.tree.map(tile.store, final, carry)


def _is_list(node: object) -> bool:
    return isinstance(node, list)


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
