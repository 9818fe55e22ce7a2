"""The likelihood of recorded spikes."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ratelike import _validation as validation
from ratelike._estimator._given_spikes import log_chances
from ratelike._likelihood._over_blocks import over_blocks
from ratelike._likelihood._recording import Recording, checked_recording
from ratelike._likelihood._spike_record import Recorded
from ratelike._network import AbstractLayer
from ratelike._numerics._broadcasting import broadcasts
from ratelike._population._sums import tree_sum
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid


@broadcasts
def log_likelihood(
    layer: AbstractLayer,
    drive: Input,
    spikes: Recorded,
    grid: TimeGrid,
    *,
    burn_in: int = 0,
) -> Float[Array, " neurons"]:
    r"""log P of the recorded spikes of each neuron of `layer`, in nats, given the input and all spikes before:

        sum over steps n of  log p[n] where the neuron fired, log(1 - p[n]) = -dt rho[n] where it did not,

    with the p[n] = 1 - exp(-dt rho[n]) of `Spiking`: at the potential that acts in the step, the age since the last spike,
    the dead time, and the marks or traces of spikes before. It is exact on the grid for every neuron that spikes: `SRM0` with
    any kernel, `LIF`, `Mixture`, `AdaptiveSRM`, a neuron of your own. The sum over neurons is the likelihood of all; in a layer
    with feedback, too, whose recurrent input is that of the recorded spikes themselves.

    `spikes` is an array (time, neurons) of 0 and 1, what `simulate` records (`trajectory.spikes[layer]`), or a list of the
    spike times of each neuron in seconds, on the time axis of the grid: a spike at t lies in step floor(t / dt).
    `drive` is the input of the layer in any form that `simulate` takes: increments of a path, not a current.

        >>> import ratelike as rl
        >>> layer = rl.Layer(rl.SRM0(), [[1.0], [2.0]], [[1.0], [1.0]])
        >>> drive = rl.FunctionDrive(lambda t: 0.5 + 0.0 * t)
        >>> value = rl.log_likelihood(layer, drive, [[0.031, 0.085], [0.02]], rl.TimeGrid(1e-3, 100))
        >>> [round(float(each), 2) for each in value]
        [-9.32, -5.15]

    *Beginning.* The neurons start as if they had never fired, at their bias. `burn_in` steps may be left out of the sum,
    whose spikes act on those that follow: a likelihood given the spikes in them, where a recording begins in mid-activity.

    *Maximum likelihood.* It is a loss for `fit`, and for `train.standard_errors`:

        def loss(network, key):
            return -jnp.sum(rl.log_likelihood(network.layers[0], drive, spikes, grid))

    Differentiable in reverse and forward mode in bias, encoder, time constants, escape rate, kernel, input. Of several trials
    take the sum; equally long ones may be batched by `jax.vmap` over arrays of spikes. Spikes that are traced, within `vmap`
    or `jit`, cannot be looked at: what cannot be has the value -inf, and no derivative.

    *Cost.* Time in proportion to steps times neurons. Memory for the spikes, the currents of a block of some 10^5 steps
    times neurons (or of the root of the number of steps), and in reverse mode for the state of each block. In single
    precision the relative error of a sum of 10^5 steps is about 10^-6.

    *Neuronal Dynamics*, section 9.2 (likelihood of a spike train); Paninski, Network 15, 243 (2004).

    Raises `ValueError` for spikes that are not 0 or 1, two spikes in a step, spikes within the dead time, times off the grid
    or not finite, records of another length or number of neurons, a `burn_in` that leaves no step, and as `simulate` does for
    layer and input.
    """
    recording = checked_recording(layer, drive, spikes, grid)
    burn_in = validation.burn_in(burn_in, grid.num_steps)
    return _log_likelihood(layer, recording, grid, burn_in)


@eqx.filter_jit
def _log_likelihood(
    layer: AbstractLayer, recording: Recording, grid: TimeGrid, burn_in: int
) -> Float[Array, " neurons"]:
    sums = over_blocks(_sum_of_block, layer, recording, grid, burn_in)
    return tree_sum(sums[None])[0]


def _sum_of_block(
    spent: Float[Array, "steps neurons"],
    fired: Bool[Array, "steps neurons"],
    counted: Bool[Array, " steps"],
) -> Float[Array, " neurons"]:
    # A tree: rounding errors grow with the logarithm of the number of steps.
    terms = jnp.where(counted[:, None], log_chances(spent, fired), 0.0)
    return tree_sum(terms[None])[0]
