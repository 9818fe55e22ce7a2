"""Cohorts in their dead time, which wait apart from the bins until they can fire."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree

from ratelike._density._merging import with_row

# Shares and marks.
Rows = tuple[Float[Array, "dead neurons"], PyTree[Float[Array, "dead neurons"]]]
Row = tuple[Float[Array, " neurons"], PyTree[Float[Array, " neurons"]]]


class Waiting(eqx.Module):
    """One cohort for each step of birth: nobody in it fires."""

    rows: Rows
    age: Float[Array, " dead"]  # in steps
    # Read from the rows one step before it is overwritten: else XLA copies all rows to do both in one step.
    first: Row  # to leave

    def next(
        self, time: Integer[Array, ""], newborn: Row, fade: Callable[[PyTree], PyTree]
    ) -> tuple["Waiting", Row]:
        """At the end of the step `time`, and who has waited long enough."""
        dead = len(self.age)

        def faded(rows):
            return rows[0], fade(rows[1])

        def with_newborn(rows, new):
            new = jnp.broadcast_to(new, rows.shape[1:])
            return with_row(rows, time % dead, new[None])

        rows = jax.tree.map(with_newborn, faded(self.rows), newborn)
        first = jax.tree.map(lambda x: x[(time + 1) % dead], rows)
        return Waiting(rows, self.age, first), faded(self.first)
