"""What a population hands on, and what was recorded of it."""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Integer

from ratelike._population._layer_state import AbstractLayerState
from ratelike._population._population import Decoded
from ratelike._types import PyTree


class Recording(eqx.Module):
    """Chosen neurons of one layer over time.

    Entry n belongs to the whole step from t_n to t_{n+1}: draw it at the step's middle, t_n + dt/2.
    """

    neurons: Integer[Array, " recorded"]
    # Input potential that acts in each step: the one at which the escape rate is the mean of that at both ends.
    potential: Float[Array, "time recorded"]
    activity: Float[
        Array, "time recorded"
    ]  # spikes in each step, or their expected number


class LayerOutput(eqx.Module):
    """What a population decodes, and what was asked for besides."""

    decoded: Decoded
    recording: Recording | None
    saved: PyTree  # what the caller's `diffrax.SaveAt` asked for
    succeeded: Bool[Array, ""]
    final: AbstractLayerState | None = None  # from which a run can go on
