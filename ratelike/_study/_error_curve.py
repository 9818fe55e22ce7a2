"""Errors of many trials at several network sizes, and the slope with which they fall."""

from collections.abc import Sequence

import equinox as eqx
import numpy as np

from ratelike import _validation as validation


class Slope(eqx.Module):
    """Slope of log error against log N, with a confidence interval; NaN where nothing is known of the scatter."""

    value: float
    lower: float
    upper: float


class ErrorCurve(eqx.Module):
    """One error per trial for each size; sizes may have different numbers of trials."""

    sizes: tuple[int, ...]
    errors: tuple[np.ndarray, ...]  # one array (trials,) per size

    def __check_init__(self):
        validation.instance("ErrorCurve.sizes", self.sizes, Sequence)
        if not isinstance(self.errors, (Sequence, np.ndarray)):
            raise ValueError(
                f"ErrorCurve.errors must be a sequence of arrays, got {self.errors!r}"
            )
        for size in self.sizes:
            validation.count("ErrorCurve.sizes", size)
        if len(set(self.sizes)) != len(self.sizes):
            raise ValueError(
                f"ErrorCurve.sizes must differ from each other, got {self.sizes}"
            )
        if len(self.sizes) != len(self.errors):
            raise ValueError(
                f"ErrorCurve.errors must hold one array for each of the {len(self.sizes)} sizes, got {len(self.errors)}"
            )
        for size, errors in zip(self.sizes, self.errors, strict=True):
            _check_errors(size, np.asarray(errors))

    def mean(self) -> np.ndarray:
        """Mean error at each size, shape (sizes,)."""
        return np.array([np.mean(np.asarray(errors, float)) for errors in self.errors])

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

    def slope(self, min_size: int = 1, *, level: float = 0.95) -> Slope:
        r"""Least-squares slope of log(mean error) against log(N) over sizes of at least `min_size`.

        All these sizes have the same weight, however many trials there are: the slope is a property of the curve,
        also where that is bent. For the interval, with n_i trials of mean m_i and standard deviation s_i at size i,

            value = sum_i w_i log m_i,    its standard error = c sqrt(sum_i w_i^2 / n_i),
            c^2 = sum_i (n_i - 1) (s_i/m_i)^2 / nu,    nu = sum_i (n_i - 1),

        and the quantile is Student's with nu degrees of freedom. So the scatter c of single trials, relative to their
        mean, is taken to be the same at all sizes, which lets sizes of few trials borrow it from the others. Where it
        falls with N (sizes at which there are few spikes) the interval is too wide. It is NaN with one trial at every
        size.

        Raises `ValueError` with fewer than two such sizes, and for an error that is not finite, zero or negative at one
        of them: its logarithm is not finite, and the slope would be infinite or undefined.
        """
        from scipy import special  # slow to import, and not needed to simulate

        level = _checked_level(level)
        smallest = validation.number("min_size", min_size)
        kept = [i for i, size in enumerate(self.sizes) if size >= smallest]
        if len(kept) < 2:
            raise ValueError(
                f"min_size must leave at least two sizes of {self.sizes}, got {smallest:g}"
            )
        for i in kept:
            _check_logarithms(self.sizes[i], np.asarray(self.errors[i]))
        log_size = np.log([self.sizes[i] for i in kept])
        centred = log_size - log_size.mean()
        weights = centred / np.sum(centred**2)
        mean = self.mean()[kept]
        trials = np.array([len(self.errors[i]) for i in kept])
        # log m_i lies c^2/(2 n_i) below the logarithm of the true mean, which is c/(2 sqrt(n_i)) of its standard error:
        # little for the c of up to 0.3 that errors averaged over time have.
        value = float(weights @ np.log(mean))
        freedom = np.sum(trials - 1)
        if freedom == 0:
            return Slope(value, np.nan, np.nan)
        squares = [
            np.sum((self.errors[i] - m) ** 2) for i, m in zip(kept, mean, strict=True)
        ]
        scatter = np.sqrt(np.sum(squares / mean**2) / freedom)
        quantile = special.stdtrit(freedom, 0.5 + level / 2.0)
        half_width = float(quantile * scatter * np.sqrt(np.sum(weights**2 / trials)))
        return Slope(value, value - half_width, value + half_width)


def _check_errors(size: int, errors: np.ndarray) -> None:
    if errors.ndim != 1 or errors.size == 0:
        raise ValueError(
            f"ErrorCurve.errors must hold an array (trials,) of at least one trial at size {size}, "
            f"got shape {errors.shape}"
        )
    if errors.dtype.kind not in "iuf":
        raise ValueError(
            f"ErrorCurve.errors must be real numbers, got {errors.dtype} at size {size}"
        )


def _check_logarithms(size: int, errors: np.ndarray) -> None:
    finite = np.isfinite(errors)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(
            f"ErrorCurve.errors must be finite, got {errors[first]} in trial {first} at size {size}"
        )
    if np.min(errors) <= 0.0:
        raise ValueError(
            f"a slope of log error against log N needs errors greater than 0, got {np.min(errors):g} at size {size}"
        )


def _checked_level(level: float) -> float:
    level = validation.number("level", level, above=0.0)
    if level >= 1.0:
        raise ValueError(f"level must be less than 1, got {level}")
    return level
