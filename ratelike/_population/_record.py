"""What is to be recorded of a layer: in the words of a caller, and as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
from jaxtyping import Array, Integer, UInt

from ratelike import _validation as validation
from ratelike._population._spike_trains import SpikeTrains, of_neurons
from ratelike._signal._grid import TimeGrid


@dataclass(frozen=True)
class Spikes:
    """In `record={layer: Spikes()}`: the spikes of all neurons of a layer, or of those named, one bit for each step.

        trajectory = rl.simulate(network, drive, grid, rl.Spiking(), key=key, record={0: rl.Spikes()})
        trajectory.spikes[0].pairs  # steps and neurons
        trajectory.spike_times(0)  # a list of arrays, in seconds

    128 times (for all neurons 1/32 of a float32) smaller than the activity and the potential that a list of neurons
    keeps, and there is no buffer to overflow. Of all neurons, or of more than one in 64, the layer runs a second time
    unless it runs as a whole; under `Spiking` alone, since rates have no spikes.
    """

    neurons: Sequence[int] | None = None  # all


@dataclass(frozen=True)
class Traces:
    """In `record={layer: Traces()}`: potential and activity of all neurons of a layer, or of those named.

        record={0: rl.Traces(every=20), 1: rl.Traces([3, 5])}

    With `every` = k there is one entry for every k steps: the mean of the potential, and the sum of the activity, so
    that no spike is lost and activity / (k dt) is a rate. It must divide the steps of the grid. A layer with feedback
    holds all steps in memory before they are put together; others run a second time.

    Raises `ValueError` for `every` < 1.
    """

    neurons: Sequence[int] | None = None  # all
    every: int = 1

    def __post_init__(self) -> None:
        every = validation.count("Traces.every", self.every)
        object.__setattr__(self, "every", every)


class Recorded(eqx.Module):
    """What a run keeps of a layer, after all checks."""

    # Whose potential and activity are kept.
    neurons: Integer[Array, " recorded"] | None = None
    every: int = eqx.field(static=True, default=1)
    # Whose spikes are kept, in bits.
    spiking: Integer[Array, " spiking"] | None = None
    all_spike: bool = eqx.field(static=True, default=False)  # in their order

    def spike_trains(
        self, words: UInt[Array, "words time"], grid: TimeGrid
    ) -> SpikeTrains:
        """From the bits of a whole layer."""
        assert self.spiking is not None
        if not self.all_spike:
            words = of_neurons(words, self.spiking)
        return SpikeTrains(self.spiking, words, grid)
