"""Values of many trials at several network sizes, and the slope with which their means fall."""

from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Float, Real, Shaped

from ratelike import _validation as validation
from ratelike._types import Numbers


class Slope(eqx.Module):
    """Slope of log mean against log N, with a confidence interval; NaN where nothing is known of the scatter."""

    value: float
    lower: float
    upper: float


class SizeCurve(eqx.Module):
    """A number per trial for each network size, such as an error; sizes may have different numbers of trials.

    Raises `ValueError` for sizes below 1 or twice the same, and unless there are real numbers (trials,) for each size.
    """

    sizes: tuple[int, ...]
    values: tuple[Real[np.ndarray, "_"], ...]  # (trials,) of each size

    def __init__(self, sizes: Sequence[int], values: Sequence[Numbers]) -> None:
        validation.instance("SizeCurve.sizes", sizes, Sequence)
        if not isinstance(values, (Sequence, np.ndarray)):
            raise ValueError(
                f"SizeCurve.values must be a sequence of arrays, got {values!r}"
            )
        self.sizes = tuple(validation.count("SizeCurve.sizes", size) for size in sizes)
        self.values = tuple(np.asarray(each) for each in values)
        if len(set(self.sizes)) != len(self.sizes):
            raise ValueError(
                f"SizeCurve.sizes must differ from each other, got {self.sizes}"
            )
        if len(self.sizes) != len(self.values):
            raise ValueError(
                f"SizeCurve.values must hold one array for each of the {len(self.sizes)} sizes, got {len(self.values)}"
            )
        for size, each in zip(self.sizes, self.values, strict=True):
            _check_values(size, each)

    def mean(self) -> Float[np.ndarray, " sizes"]:
        """Mean over trials at each size."""
        return np.array([np.mean(np.asarray(each, float)) for each in self.values])

    def confidence_interval(
        self, level: float = 0.95
    ) -> tuple[Float[np.ndarray, " sizes"], Float[np.ndarray, " sizes"]]:
        """Lower and upper bound of each mean by Student's t; NaN for a single trial."""
        from scipy import stats  # slow to import, and not needed to simulate

        level = _checked_level(level)
        half_width = []
        for each in self.values:
            if len(each) == 1:
                half_width.append(np.nan)
                continue
            quantile = stats.t.ppf(0.5 + level / 2.0, len(each) - 1)
            half_width.append(quantile * np.std(each, ddof=1) / np.sqrt(len(each)))
        mean = self.mean()
        return mean - np.array(half_width), mean + np.array(half_width)

    def slope(self, min_size: int = 1, *, level: float = 0.95) -> Slope:
        r"""Least-squares slope of log(mean) against log(N) over sizes of at least `min_size`.

        All these sizes count alike, however many trials there are: the slope is a property of the curve,
        also where that is bent. For the interval, with n_i trials of mean m_i and standard deviation s_i at size i,

            value = sum_i w_i log m_i,    its standard error = c sqrt(sum_i w_i^2 / n_i),
            c^2 = sum_i (n_i - 1) (s_i/m_i)^2 / nu,    nu = sum_i (n_i - 1),

        and the quantile is Student's with nu degrees of freedom. So the scatter c of single trials, relative to their
        mean, is taken to be the same at all sizes, which lets sizes of few trials borrow it from the others. Where it
        falls with N (sizes at which there are few spikes) the interval is too wide. It is NaN with one trial at every
        size.

        Raises `ValueError` with fewer than two such sizes, and for a value that is not finite, zero or negative at one
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
            _check_logarithms(self.sizes[i], self.values[i])
        log_size = np.log([self.sizes[i] for i in kept])
        centred = log_size - log_size.mean()
        coefficients = centred / np.sum(centred**2)  # the w_i
        mean = self.mean()[kept]
        trials = np.array([len(self.values[i]) for i in kept])
        # log m_i lies c^2/(2 n_i) below the logarithm of the true mean, which is c/(2 sqrt(n_i)) of its standard error:
        # little for the c of up to 0.3 that errors averaged over time have.
        value = float(coefficients @ np.log(mean))
        freedom = np.sum(trials - 1)
        if freedom == 0:
            return Slope(value, np.nan, np.nan)
        squares = [
            np.sum((self.values[i] - m) ** 2) for i, m in zip(kept, mean, strict=True)
        ]
        scatter = np.sqrt(np.sum(squares / mean**2) / freedom)
        quantile = special.stdtrit(freedom, 0.5 + level / 2.0)
        spread = np.sqrt(np.sum(coefficients**2 / trials))
        half_width = float(quantile * scatter * spread)
        return Slope(value, value - half_width, value + half_width)


def _check_values(size: int, values: Shaped[np.ndarray, "..."]) -> None:
    if values.ndim != 1 or values.size == 0:
        raise ValueError(
            f"SizeCurve.values must hold an array (trials,) of at least one trial at size {size}, "
            f"got shape {values.shape}"
        )
    if values.dtype.kind not in "iuf":
        raise ValueError(
            f"SizeCurve.values must be real numbers, got {values.dtype} at size {size}"
        )


def _check_logarithms(size: int, values: Real[np.ndarray, " trials"]) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(
            f"SizeCurve.values must be finite, got {values[first]} in trial {first} at size {size}"
        )
    if np.min(values) <= 0.0:
        raise ValueError(
            f"a slope of logarithms needs SizeCurve.values greater than 0, got {np.min(values):g} at size {size}"
        )


def _checked_level(level: float) -> float:
    level = validation.number("level", level, above=0.0)
    if level >= 1.0:
        raise ValueError(f"level must be less than 1, got {level}")
    return level
