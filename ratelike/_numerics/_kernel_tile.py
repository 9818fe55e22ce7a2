"""What one program of a `ColumnScan`'s kernel reads and writes."""

import functools
from typing import Any

import jax.numpy as jnp
from jax.experimental import pallas
from jaxtyping import Array, Int


@functools.cache
def triton() -> Any:
    """The part of Pallas that is for Triton, or None in a JAX that has no such part."""
    try:
        from jax.experimental.pallas import triton
    except ImportError:
        return None
    return triton


def is_list(node: object) -> bool:
    return isinstance(node, list)


class KernelTile:
    """The neurons of one program of the kernel; of the last one some do not exist, and read as zeros."""

    def __init__(self, neurons_each: int, num_neurons: int, in_rows: bool) -> None:
        self.program = pallas.program_id(0)
        first = self.program * neurons_each
        self.columns = first + jnp.arange(neurons_each, dtype=jnp.int32)
        self.exists = self.columns < num_neurons
        self.in_rows = in_rows

    def load(self, ref: Any, *time: Int[Array, ""]) -> Array | list[Array]:
        """Of the first axis an entry, if `time` is given."""
        axes = len(ref.shape) - len(time)
        if axes == 0:
            return ref[...]
        if axes == 2 and self.in_rows:
            return [self._load_row(ref, *time, k) for k in range(ref.shape[-2])]
        if axes == 2:
            index, exists = self._all(ref)
            return triton().load(ref.at[(*time, *index)], mask=exists, other=0)
        return self._load_row(ref, *time)

    def store(
        self, ref: Any, values: Array | list[Array], *time: Int[Array, ""]
    ) -> None:
        if isinstance(values, list):
            for k, row in enumerate(values):
                self._store_row(ref, row, *time, k)
        elif len(ref.shape) - len(time) == 2:
            index, exists = self._all(ref)
            triton().store(ref.at[(*time, *index)], values, mask=exists)
        else:
            self._store_row(ref, values, *time)

    def load_shared(self, ref: Any, time: Int[Array, ""]) -> Array | list[Array]:
        """What all neurons see in a step."""
        if len(ref.shape) == 1:
            return ref[time]
        if self.in_rows:
            return [ref[time, k] for k in range(ref.shape[1])]
        every = jnp.arange(ref.shape[1], dtype=jnp.int32)
        return triton().load(ref.at[time, every])

    def store_part(
        self, ref: Any, values: Array | list[Array], time: Int[Array, ""]
    ) -> None:
        """What the neurons of this program add to a sum over all."""
        if isinstance(values, list):
            for k, value in enumerate(values):
                ref[time, self.program, k] = value
        elif values.ndim == 0:
            ref[time, self.program] = values
        else:
            every = jnp.arange(values.shape[0], dtype=jnp.int32)
            triton().store(ref.at[time, self.program, every], values)

    def _load_row(self, ref: Any, *index: Any) -> Array:
        where = (*index, self.columns)
        return triton().load(ref.at[where], mask=self.exists, other=0)

    def _store_row(self, ref: Any, row: Any, *index: Any) -> None:
        where = (*index, self.columns)
        triton().store(ref.at[where], row, mask=self.exists)

    def _all(self, ref: Any) -> tuple[tuple[Array, Array], Array]:
        above = jnp.arange(ref.shape[-2], dtype=jnp.int32)[:, None]
        shape = (ref.shape[-2], len(self.columns))
        exists = jnp.broadcast_to(self.exists[None], shape)
        return (above, self.columns[None]), exists
