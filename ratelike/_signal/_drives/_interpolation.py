"""What a signal is between the samples of a table."""

import abc
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float, Integer


class Share(NamedTuple):
    """How an integral over an interval depends on the samples: a sum of weight x sample, of a few samples each."""

    samples: Integer[np.ndarray, "intervals each"]
    weights: Float[np.ndarray, "intervals each"]  # s


class AbstractInterpolation(eqx.Module):
    """A signal between samples, as a linear map of them."""

    @abc.abstractmethod
    def share(
        self,
        times: Float[np.ndarray, " times"],
        sample: Integer[np.ndarray, " intervals"],
        begin: Float[np.ndarray, " intervals"],
        end: Float[np.ndarray, " intervals"],
    ) -> Share:
        """The integral over intervals from `begin` to `end`, each between `times` number `sample` and the next.

        `times` are those of the samples and, as the last one, the end of the table. In float64, on the host.
        """


class SampleAndHold(AbstractInterpolation):
    """Each sample is held until the next one: x(t) = x_k for t_k <= t < t_{k+1}. For steps, and for digital signals."""

    def share(
        self,
        times: Float[np.ndarray, " times"],
        sample: Integer[np.ndarray, " intervals"],
        begin: Float[np.ndarray, " intervals"],
        end: Float[np.ndarray, " intervals"],
    ) -> Share:
        return Share(sample[:, None], (end - begin)[:, None])


class PiecewiseLinear(AbstractInterpolation):
    """A straight line from each sample to the next; the last sample is held. For signals that were smooth when sampled."""

    def share(
        self,
        times: Float[np.ndarray, " times"],
        sample: Integer[np.ndarray, " intervals"],
        begin: Float[np.ndarray, " intervals"],
        end: Float[np.ndarray, " intervals"],
    ) -> Share:
        # The mean of a straight line is its value in the middle.
        middle = 0.5 * (begin + end) - times[sample]
        part = np.clip(middle / (times[sample + 1] - times[sample]), 0.0, 1.0)
        length = end - begin
        following = np.minimum(sample + 1, len(times) - 2)
        return Share(
            np.stack([sample, following], axis=1),
            np.stack([length * (1.0 - part), length * part], axis=1),
        )
