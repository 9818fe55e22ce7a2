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


class KernelTile:
    """The neurons of one program of the kernel; of the last one some do not exist."""

    def __init__(self, neurons_each: int, num_neurons: int, in_rows: bool) -> None:
        first = pallas.program_id(0) * neurons_each
        self.columns = first + jnp.arange(neurons_each, dtype=jnp.int32)
        self.exists = self.columns < num_neurons
        self.in_rows = in_rows

    def load(self, ref: Any) -> Array | list[Array]:
        if not ref.shape:
            return ref[...]
        if len(ref.shape) == 1:
            return self.load_row(ref)
        if self.in_rows:
            return [self.load_row(ref, k) for k in range(ref.shape[0])]
        index, exists = self._all(ref)
        return triton().load(ref.at[index], mask=exists, other=0)

    def store(self, ref: Any, values: Array | list[Array]) -> None:
        if len(ref.shape) == 1:
            self.store_row(ref, values)
        elif self.in_rows:
            for k, row in enumerate(values):
                self.store_row(ref, row, k)
        else:
            index, exists = self._all(ref)
            triton().store(ref.at[index], values, mask=exists)

    def load_row(self, ref: Any, *index: Any) -> Array:
        where = (*index, self.columns)
        return triton().load(ref.at[where], mask=self.exists, other=0)

    def store_row(self, ref: Any, row: Any, *index: Any) -> None:
        where = (*index, self.columns)
        triton().store(ref.at[where], row, mask=self.exists)

    def seen(self, ref: Any, time: Int[Array, ""]) -> Array | list[Array]:
        """What all neurons see in a step."""
        if len(ref.shape) == 1:
            return ref[time]
        if self.in_rows:
            return [ref[time, k] for k in range(ref.shape[1])]
        every = jnp.arange(ref.shape[1], dtype=jnp.int32)
        return triton().load(ref.at[time, every])

    def _all(self, ref: Any) -> tuple[tuple[Array, ...], Array]:
        above = jnp.arange(ref.shape[0], dtype=jnp.int32)[:, None]
        shape = (ref.shape[0], len(self.columns))
        exists = jnp.broadcast_to(self.exists[None], shape)
        return (above, self.columns[None]), exists
