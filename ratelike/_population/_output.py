"""What a population hands on, and what was recorded of it."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, UInt

from ratelike._population._layer_state import AbstractLayerState
from ratelike._population._population import Decoded
from ratelike._types import PyTree


class Recording(eqx.Module):
    """Chosen neurons of one layer over time.

    Entry m belongs to the `every` steps from t_{m every} to t_{(m+1) every} as a whole, by default to one step: draw it
    at their middle (`trajectory.recording_times(layer)`).
    """

    neurons: Integer[Array, " recorded"]
    # Input potential that acts in each step: the one at which the escape rate is the mean of that at both ends. The mean
    # of it over the steps of an entry.
    potential: Float[Array, "time recorded"]
    # Spikes in the steps of an entry, or their expected number.
    activity: Float[Array, "time recorded"]
    every: int = eqx.field(static=True, default=1)  # steps of an entry

    def every_so_many(self, steps: int) -> "Recording":
        """One entry for every `steps` of these."""
        if steps == 1:
            return self

        def together(values: Array) -> Array:
            return values.reshape(-1, steps, values.shape[1])

        potential = jnp.mean(together(self.potential), axis=1)
        activity = jnp.sum(together(self.activity), axis=1)
        return Recording(self.neurons, potential, activity, steps * self.every)


class LayerOutput(eqx.Module):
    """What a population decodes, and what was asked for besides."""

    decoded: Decoded
    recording: Recording | None
    saved: PyTree  # what the caller's `diffrax.SaveAt` asked for
    succeeded: Bool[Array, ""]
    final: AbstractLayerState | None = None  # from which a run can go on
    spikes: UInt[Array, "time words"] | None = None  # of all neurons, in bits
