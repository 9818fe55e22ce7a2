"""Mean and standard error of many arrays, one after the other, without the loss of digits of a sum of squares."""

import math
from typing import Any, NamedTuple


class RunningMoments(NamedTuple):
    """Welford's algorithm (Technometrics 4, 419, 1962); NumPy or JAX arrays, in the precision that they have."""

    mean: Any
    squares: Any  # sum of squared distances from the mean

    def after(self, value: Any, count: Any) -> "RunningMoments":
        """With `value`, which is number `count`, from 1 on."""
        distance = value - self.mean
        mean = self.mean + distance / count
        return RunningMoments(mean, self.squares + distance * (value - mean))

    def standard_error(self, count: int) -> Any:
        """Of the mean of `count` values; NaN of one."""
        scale = 1.0 / (count * (count - 1.0)) if count > 1 else math.nan
        return (self.squares * scale) ** 0.5
