"""Errors of many trials at several network sizes, and the slope with which they fall."""

import equinox as eqx
import numpy as np

from ratelike import _validation as validation


class Slope(eqx.Module):
    """Slope of log error against log N, with a confidence interval."""

    value: float
    lower: float
    upper: float


class ErrorCurve(eqx.Module):
    """One error per trial for each size; sizes may have different numbers of trials."""

    sizes: tuple[int, ...]
    errors: tuple[np.ndarray, ...]  # one array (trials,) per size

    def __check_init__(self):
        if len(self.sizes) != len(self.errors):
            raise ValueError(
                f"ErrorCurve.errors must hold one array for each of the {len(self.sizes)} sizes, got {len(self.errors)}"
            )
        for size, errors in zip(self.sizes, self.errors, strict=True):
            if np.ndim(errors) != 1 or np.size(errors) == 0:
                raise ValueError(
                    f"ErrorCurve.errors must hold an array (trials,) of at least one trial at size {size}, "
                    f"got shape {np.shape(errors)}"
                )

    def mean(self) -> np.ndarray:
        """Mean error at each size, shape (sizes,)."""
        return np.array([np.mean(errors) for errors in self.errors])

    def confidence_interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bound of each mean by Student's t, each of shape (sizes,); NaN for a single trial."""
        from scipy import stats  # slow to import, and not needed to simulate

        level = _checked_level(level)
        half_width = []
        for errors in self.errors:
            if len(errors) == 1:
                half_width.append(np.nan)
                continue
            quantile = stats.t.ppf(0.5 + level / 2.0, len(errors) - 1)
            half_width.append(quantile * np.std(errors, ddof=1) / np.sqrt(len(errors)))
        mean = self.mean()
        return mean - np.array(half_width), mean + np.array(half_width)

    def slope(
        self,
        min_size: int = 1,
        *,
        level: float = 0.95,
        resamples: int = 2000,
        seed: int = 0,
    ) -> Slope:
        """Least-squares slope of log(mean error) against log(N) over sizes of at least `min_size`.

        The interval is the percentile bootstrap over trials, each size resampled on its own (trials of different
        sizes are independent). With few trials at a size it is too narrow, by about sqrt((n - 1)/n).

        Raises `ValueError` with fewer than two such sizes, and for an error that is zero or negative at one of them:
        its logarithm is not finite, and the slope would be infinite or undefined.
        """
        level = _checked_level(level)
        resamples = validation.count("resamples", resamples)
        smallest = validation.number("min_size", min_size)
        kept = [i for i, size in enumerate(self.sizes) if size >= smallest]
        if len(kept) < 2:
            raise ValueError(
                f"min_size must leave at least two sizes of {self.sizes}, got {smallest:g}"
            )
        for i in kept:
            smallest_error = np.min(self.errors[i])
            if smallest_error <= 0.0:
                raise ValueError(
                    "a slope of log error against log N needs errors greater than 0, "
                    f"got {smallest_error:g} at size {self.sizes[i]}"
                )
        log_size = np.log([self.sizes[i] for i in kept])
        centred = log_size - log_size.mean()
        weights = centred / np.sum(centred**2)
        generator = np.random.default_rng(seed)
        resampled = []
        for i in kept:
            errors = self.errors[i]
            chosen = generator.integers(len(errors), size=(resamples, len(errors)))
            resampled.append(np.log(errors[chosen].mean(axis=1)))
        slopes = weights @ np.array(resampled)
        tail = 50.0 * (1.0 - level)
        lower, upper = np.percentile(slopes, [tail, 100.0 - tail])
        value = weights @ np.log(self.mean()[kept])
        return Slope(float(value), float(lower), float(upper))


def _checked_level(level: float) -> float:
    level = validation.number("level", level, above=0.0)
    if level >= 1.0:
        raise ValueError(f"level must be less than 1, got {level}")
    return level
