"""A loop over time in which every neuron goes its own way: on a GPU one kernel.

The arrays that are carried from step to step have the neurons in their last axis, and no neuron sees another. A program
of the kernel takes a few of them through all steps, with what is carried in registers, where XLA would launch several
kernels in each step, and read and write all that is carried.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._numerics._column_kernel import run_kernel, supports
from ratelike._types import PyTree

# (constants, carry, shared, rows) -> (carry, outputs). `shared` is what all neurons see in this step, `rows` a list of
# rows, each leaf of the outputs another one.
Body = Callable[[PyTree, PyTree, PyTree, list[Array]], tuple[PyTree, PyTree]]


class ColumnScan(eqx.Module):
    """`jax.lax.scan` of a body that acts on each neuron alone.

    `constants` have no axis or that of the neurons; leaves of the carry have the neurons in their last axis, and before
    it an axis whose length is a power of two, or none. `shared` have time first, and an axis of such a length or none.
    `neurons_each` neurons are a program's of the kernel, of `warps` times 32 threads.
    """

    body: Body = eqx.field(static=True)
    neurons_each: int = eqx.field(static=True, default=32)
    warps: int = eqx.field(static=True, default=1)
    in_rows: bool = eqx.field(static=True, default=False)

    def has_kernel(
        self, constants: PyTree, carry: PyTree, shared: PyTree, rows: PyTree
    ) -> bool:
        """Whether it can be a kernel: arrays may be known by their shapes alone."""
        arrays = constants, carry, shared, rows
        return supports(self.body, self.neurons_each, *arrays, in_rows=self.in_rows)

    def __call__(
        self,
        constants: PyTree[Array],
        carry: PyTree[Array],
        shared: PyTree[Array],
        rows: Float[Array, "time rows neurons"],
    ) -> tuple[PyTree[Array], PyTree[Array]]:
        """The carry after all steps, and outputs (time, rows, neurons).

        By the kernel on an NVIDIA GPU, as a loop elsewhere and where it is differentiated.
        """

        @jax.custom_jvp
        def run(*arrays: PyTree) -> tuple[PyTree, PyTree]:
            kernel = functools.partial(self.kernel, interpret=False)
            return jax.lax.platform_dependent(*arrays, cuda=kernel, default=self.loop)

        @run.defjvp
        def _(primals: tuple, tangents: tuple) -> tuple[PyTree, PyTree]:
            return jax.jvp(self.loop, primals, tangents)

        return run(constants, carry, shared, rows)

    def loop(
        self, constants: PyTree, carry: PyTree, shared: PyTree, rows: Array
    ) -> tuple[PyTree, PyTree]:
        def step(carry: PyTree, inputs: tuple[PyTree, Array]) -> tuple[PyTree, PyTree]:
            shared, rows = inputs
            if self.in_rows:
                carry, shared = _unstacked(carry, 2), _unstacked(shared, 1)
            carry, outputs = self.body(constants, carry, shared, list(rows))
            if self.in_rows:
                carry = jax.tree.map(_stacked, carry, is_leaf=is_list)
            return carry, jax.tree.map(jnp.stack, outputs, is_leaf=is_list)

        # Reverse mode computes a step again rather than keep all that came up in it.
        return jax.lax.scan(
            jax.checkpoint(step, prevent_cse=False), carry, (shared, rows)
        )

    def kernel(
        self,
        constants: PyTree,
        carry: PyTree,
        shared: PyTree,
        rows: Array,
        *,
        interpret: bool,
    ) -> tuple[PyTree, PyTree]:
        """`interpret` runs it step by step on any device."""
        shapes = jax.eval_shape(self.loop, constants, carry, shared, rows)
        return run_kernel(
            self.body,
            shapes,
            constants,
            carry,
            shared,
            rows,
            neurons_each=self.neurons_each,
            warps=self.warps,
            in_rows=self.in_rows,
            interpret=interpret,
        )


def is_list(node: Any) -> bool:
    return isinstance(node, list)


def _unstacked(tree: PyTree, axes: int) -> PyTree:
    return jax.tree.map(lambda x: list(x) if x.ndim >= axes else x, tree)


def _stacked(rows: Any) -> Array:
    return jnp.stack(rows) if is_list(rows) else rows
