"""The refractory queue: cohorts within their dead time, kept apart from the bins until they can fire."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._merging import with_row
from ratelike._types import PyTree

# Masses and marks.
Rows = tuple[Float[Array, "dead neurons"], PyTree[Float[Array, "dead neurons"]]]
Row = tuple[Float[Array, " neurons"], PyTree[Float[Array, "..."]]]


class RefractoryQueue(eqx.Module):
    """One cohort for each step of birth; none of its mass fires."""

    rows: Rows
    age: Float[Array, " dead"]  # in steps
    # The row that leaves next, read one step before it is overwritten: to do both in one step XLA copies all rows.
    first: Row

    def advance(
        self, step: Integer[Array, ""], newborn: Row, fade: Callable[[PyTree], PyTree]
    ) -> tuple["RefractoryQueue", Row]:
        """The queue at the end of a step, and the cohort whose dead time is over; `fade` acts on marks."""
        dead = len(self.age)

        def faded(rows: tuple[Array, PyTree]) -> tuple[Array, PyTree]:
            return rows[0], fade(rows[1])

        def with_newborn(rows: Array, new: Array) -> Array:
            new = jnp.broadcast_to(new, rows.shape[1:])
            return with_row(rows, step % dead, new[None])

        rows = jax.tree.map(with_newborn, faded(self.rows), newborn)
        first = jax.tree.map(lambda x: x[(step + 1) % dead], rows)
        return RefractoryQueue(rows, self.age, first), faded(self.first)
