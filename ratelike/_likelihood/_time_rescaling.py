"""Whether the intervals between recorded spikes are those of the model."""

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from ratelike import _validation as validation
from ratelike._likelihood._kolmogorov import ks_distance, ks_p_value
from ratelike._likelihood._over_blocks import over_blocks
from ratelike._likelihood._recording import Recording, checked_recording
from ratelike._likelihood._spike_record import Recorded
from ratelike._network import AbstractLayer
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._time_blocks import in_time
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid


class Rescaling(NamedTuple):
    """What `time_rescaling` returns. Of a neuron without an interval, distance and p-value are NaN."""

    intervals: list[Float[np.ndarray, " intervals"]]  # of each neuron, in order
    # Largest distance of their distribution function from the uniform one (Kolmogorov-Smirnov).
    distance: Float[np.ndarray, " neurons"]
    # The chance of a larger distance under the model.
    p_value: Float[np.ndarray, " neurons"]


@broadcasts
def time_rescaling(
    layer: AbstractLayer,
    drive: Input,
    spikes: Recorded,
    grid: TimeGrid,
    *,
    key: Array,
) -> Rescaling:
    r"""The intervals between recorded spikes in the time of the model, uniform on [0, 1] and independent if it is right.

    Of two spikes that follow one another in steps m and n, with dt rho the hazard of a step as in `log_likelihood`,

        y = 1 - exp(-x),    x = sum over the steps k between of  dt rho[k]  - log(1 - v (1 - exp(-dt rho[n]))),

    v uniform on [0, 1], drawn from `key`: the moment of the spike within its step. Without this correction of discrete time,
    in place of the sum up to n, y is uniform for dt rho << 1 only, and the test refuses right models at high rates.
    The distance of the distribution of y from the uniform one has a p-value (Kolmogorov and Smirnov, with the
    approximation of Stephens 1970); on a diagram of the sorted y against (i - 1/2) / n,
    95% of right models stay within 1.36 / sqrt(n) of the diagonal.

        >>> import jax
        >>> import ratelike as rl
        >>> layer = rl.Layer(rl.SRM0(), [[1.0]], [[1.0]], bias=1.0)
        >>> drive, grid, key = rl.FunctionDrive(lambda t: 0.0 * t), rl.TimeGrid(1e-3, 4000), jax.random.key(0)
        >>> run = rl.simulate(rl.Network([layer]), drive, grid, rl.Spiking(), key=key, record={0: rl.Spikes()})
        >>> bool(rl.time_rescaling(layer, drive, run.spikes[0], grid, key=key).p_value[0] > 0.01)
        True

    The time before the first spike and that after the last one are left out; where a recording holds few spikes, the
    latter makes intervals a little too short on average. A model that was fitted to the same spikes passes too easily.

    Arrays (time, neurons) are kept, in the precision of the layer. Not for `jit`.

    Brown, Barbieri, Ventura, Kass and Frank, Neural Comput. 14, 325 (2002); Haslinger, Pipa and Brown, Neural Comput. 22,
    2477 (2010).

    Raises `ValueError` as `log_likelihood` does, for a missing or raw key, and for arrays that are being traced.
    """
    recording = checked_recording(layer, drive, spikes, grid)
    key = validation.typed_key("key", key)
    if not validation.is_concrete((layer, recording, key)):
        raise ValueError(
            "layer, drive, spikes and key must be concrete for time_rescaling, got arrays that are being traced"
        )
    spent = np.asarray(_spent(layer, recording, grid))
    fired = np.asarray(recording.spikes)
    # The moments of each spike, by neuron and number.
    most = max(int(fired.sum(axis=0).max()), 1)
    moments = np.asarray(jax.random.uniform(key, (layer.num_neurons, most)), float)
    intervals = [
        _rescaled(*each) for each in zip(spent.T, fired.T, moments, strict=True)
    ]
    distance = np.asarray([ks_distance(each) for each in intervals])
    sizes = [len(each) for each in intervals]
    p_value = [ks_p_value(*each) for each in zip(distance, sizes, strict=True)]
    return Rescaling(intervals, distance, np.asarray(p_value))


@eqx.filter_jit
def _spent(
    layer: AbstractLayer, recording: Recording, grid: TimeGrid
) -> Float[Array, "time neurons"]:
    """dt rho in each step."""

    def of_block(
        spent: Float[Array, "steps neurons"],
        fired: Bool[Array, "steps neurons"],
        counted: Bool[Array, " steps"],
    ) -> Float[Array, "steps neurons"]:
        return spent

    blocks = over_blocks(of_block, layer, recording, grid, burn_in=0)
    return in_time(blocks, grid.num_steps)


def _rescaled(
    spent: Float[np.ndarray, " time"],
    fired: Bool[np.ndarray, " time"],
    moments: Float[np.ndarray, " most"],
) -> Float[np.ndarray, " intervals"]:
    """Of one neuron, in double precision."""
    steps = np.flatnonzero(fired)
    if len(steps) < 2:
        return np.zeros(0)
    hazards = spent.astype(float)
    last = hazards[steps[1:]]
    hazards[steps] = 0.0
    between = np.add.reduceat(hazards, steps)[:-1]
    within = -np.log1p(moments[: len(last)] * np.expm1(-last))
    return -np.expm1(-(between + within))
