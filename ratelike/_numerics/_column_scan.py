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
from jaxtyping import Array

from ratelike._numerics._column_kernel import run_kernel, supports
from ratelike._numerics._kernel_tile import is_list
from ratelike._types import PyTree

# (constants, carry, shared, rows) -> (carry, outputs, sums)
Body = Callable[[PyTree, PyTree, PyTree, PyTree], tuple[PyTree, PyTree, PyTree]]


class ColumnScan(eqx.Module):
    """`jax.lax.scan` of a body that acts on each neuron alone.

    The body sees, of each argument:
    `constants`
        arrays without an axis, or of all neurons;
    `carry`
        arrays of all neurons, with an axis before it or none;
    `shared`
        what is the same for all neurons, time first: numbers, or with one axis more;
    `rows`
        what each neuron gets in each step: (time, neurons), or with an axis between the two.
    It returns the carry, outputs that are as the rows, and *sums*: what is as the shared, a part of each neuron, and
    is summed over all of them.

    An axis beside that of the neurons is an array's, with a length that is a power of two; or, with `in_rows`, a list's
    of any length. `neurons_each` neurons are a program's of the kernel, of `warps` times 32 threads.
    """

    body: Body = eqx.field(static=True)
    neurons_each: int = eqx.field(static=True, default=32)
    warps: int = eqx.field(static=True, default=1)
    in_rows: bool = eqx.field(static=True, default=False)
    is_reversed: bool = eqx.field(static=True, default=False)  # from the last step

    def has_kernel(
        self, constants: PyTree, carry: PyTree, shared: PyTree, rows: PyTree
    ) -> bool:
        """Whether it can be a kernel: arrays may be known by their shapes alone."""
        arrays = constants, carry, shared, rows
        return supports(self.body, self.neurons_each, *arrays, in_rows=self.in_rows)

    def __call__(
        self, constants: PyTree, carry: PyTree, shared: PyTree, rows: PyTree
    ) -> tuple[PyTree, PyTree, PyTree]:
        """The carry after all steps, the outputs of each step, and the sums of each step.

        By the kernel on an NVIDIA GPU, as a loop elsewhere and where it is differentiated.
        """

        @jax.custom_jvp
        def run(*arrays: PyTree) -> tuple[PyTree, PyTree, PyTree]:
            kernel = functools.partial(self.kernel, interpret=False)
            return jax.lax.platform_dependent(*arrays, cuda=kernel, default=self.loop)

        @run.defjvp
        def _(primals: tuple, tangents: tuple) -> tuple[PyTree, PyTree]:
            return jax.jvp(self.loop, primals, tangents)

        return run(constants, carry, shared, rows)

    def loop(
        self, constants: PyTree, carry: PyTree, shared: PyTree, rows: PyTree
    ) -> tuple[PyTree, PyTree, PyTree]:
        def step(carry: PyTree, inputs: tuple) -> tuple[PyTree, tuple]:
            shared, rows = inputs
            if self.in_rows:
                carry, shared = _unstacked(carry, 2), _unstacked(shared, 1)
                rows = _unstacked(rows, 2)
            carry, *outputs = self.body(constants, carry, shared, rows)
            return _stacked(carry), tuple(map(_stacked, outputs))

        # Reverse mode computes a step again rather than keep all that came up in it.
        carry, (outputs, sums) = jax.lax.scan(
            jax.checkpoint(step, prevent_cse=False),
            carry,
            (shared, rows),
            reverse=self.is_reversed,
        )
        return carry, outputs, sums

    def kernel(
        self,
        constants: PyTree,
        carry: PyTree,
        shared: PyTree,
        rows: PyTree,
        *,
        interpret: bool,
    ) -> tuple[PyTree, PyTree, PyTree]:
        """`interpret` runs it step by step on any device."""
        shapes = jax.eval_shape(self.loop, constants, carry, shared, rows)
        return run_kernel(
            self.body,
            shapes,
            (constants, carry, shared, rows),
            neurons_each=self.neurons_each,
            warps=self.warps,
            in_rows=self.in_rows,
            is_reversed=self.is_reversed,
            interpret=interpret,
        )


def _unstacked(tree: PyTree, axes: int) -> PyTree:
    return jax.tree.map(lambda x: list(x) if x.ndim >= axes else x, tree)


def _stacked(tree: PyTree) -> PyTree:
    def stack(rows: Any) -> Array:
        return jnp.stack(rows) if is_list(rows) else rows

    return jax.tree.map(stack, tree, is_leaf=is_list)
