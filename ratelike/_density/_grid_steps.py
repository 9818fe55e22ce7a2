"""One step of the solver for each step of the grid."""

from collections.abc import Callable

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._state import Scalar
from ratelike._types import PyTree


class GridSteps(diffrax.AbstractStepSizeController):
    """Steps to the times of a grid, all of them, however long the run.

    `diffrax.StepTo` does that too, but diffrax rounds a step that ends within 100 units in the last place of the final
    time up to it, which in float32 merges the last steps of a long run; and its checks of the times are callbacks,
    which switch the persistent compilation cache off. Here the times come from a `TimeGrid` and need no check, and the
    solve runs to `end`, slightly beyond them, where the last step puts it.
    """

    times: Float[Array, " times"]  # s

    @property
    def end(self) -> Float[Array, ""]:
        """A final time for `diffeqsolve`, more than 100 units in the last place beyond the grid."""
        return self.times[-1] * (1.0 + 2.0**-16)

    def wrap(self, direction: object) -> "GridSteps":
        return self

    def init(
        self,
        terms: PyTree,
        t0: Scalar,
        t1: Scalar,
        y0: PyTree,
        dt0: None,
        args: PyTree,
        func: Callable[..., PyTree],
        error_order: Scalar | None,
    ) -> tuple[Float[Array, ""], Integer[Array, ""]]:
        return self.times[1], jnp.asarray(2, jnp.int32)

    def adapt_step_size(
        self,
        t0: Scalar,
        t1: Scalar,
        y0: PyTree,
        y1_candidate: PyTree,
        args: PyTree,
        y_error: PyTree,
        error_order: Scalar | None,
        controller_state: Integer[Array, ""],
    ) -> tuple[
        bool,
        Float[Array, ""],
        Float[Array, ""],
        bool,
        Integer[Array, ""],
        diffrax.RESULTS,
    ]:
        index = controller_state  # of the end of the next step
        last = len(self.times) - 1
        start = jnp.where(index > last, self.end, self.times[index - 1])
        end = jnp.where(index > last, self.end, self.times[index])
        return True, start, end, False, index + 1, diffrax.RESULTS.successful
