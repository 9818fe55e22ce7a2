"""Whether the input of a network is of the size that its neurons are made for."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ratelike import _validation as validation
from ratelike._network import Layer, Network
from ratelike._neuron._escape_rates import KNOWN
from ratelike._numerics._casting import cast_to
from ratelike._signal._drive import GridPath
from ratelike._signal._grid import TimeGrid
from ratelike._validation._plausibility import warn

# Paths that are tables, which are looked up fast, and which are made of a signal by mistake.
TABLES = (diffrax.LinearInterpolation, diffrax.CubicInterpolation)
# Of a population so many neurons are looked at.
NEURONS = 64
# Escape widths from the potential at rest. Even deterministic neurons are seldom driven by more than a few dozen.
LARGEST_DRIVE = 50.0
# A hazard of so much in one step leaves a fraction e^-10 of the neurons silent.
CERTAIN = 10.0
# Widths from which on it is worth a look: nearer, an exponential rate of 10 Hz is not certain in a step of 0.1 ms.
FAR_ABOVE = 9.0


def warn_of_input(network: Network, path: Any, grid: TimeGrid) -> None:
    """Increments of a current without `dt`, and neurons that fire whenever they may; of concrete arrays only."""
    layer = network.layers[0]
    neuron = layer.neuron
    escape: Any = getattr(neuron, "escape", None)
    known = isinstance(path, (GridPath, *TABLES)) and type(escape) in KNOWN
    if not known or not isinstance(layer, Layer):
        return
    if not validation.is_concrete((neuron, layer.encoder, layer.bias, path)):
        return
    width, threshold, tau_m, bias = (
        np.broadcast_to(np.asarray(each, float), (layer.num_neurons,))[:NEURONS]
        for each in (escape.width, escape.threshold, neuron.tau_m, layer.bias)
    )
    encoder = np.asarray(layer.encoder)[:NEURONS].astype(float)
    # Over two time constants the mean of white noise varies as much as the potential does.
    block = max(1, round(2.0 * float(np.median(tau_m)) / grid.dt))
    if not isinstance(path, GridPath):
        _warn_of_path(path, grid, block, encoder / width[:, None])
        return
    values = np.asarray(path.values, float)
    mean = encoder @ values.mean(axis=0) / grid.dt
    # As if steps did not know of each other, as in white noise, or of a slow current: whichever is more.
    variance = encoder**2 @ values.var(axis=0) / (2.0 * tau_m * grid.dt)
    whole = len(values) // block * block
    if whole > 0:
        slow = values[:whole].reshape(whole // block, block, values.shape[1])
        slow = slow.mean(axis=1)
        variance = np.maximum(variance, (slow @ encoder.T).var(axis=0) / grid.dt**2)
    if layer.synapse is not None:
        variance = 0.0 * variance  # synapses may leave any part of it
    driven = float(np.median(np.sqrt(mean**2 + variance) / width))
    if driven > LARGEST_DRIVE:
        warn(
            f"increments move the potential by about {driven:.3g} escape widths: they are increments of a path, not a "
            "current I, of which they are I * dt; ratelike.SignalDrive takes a table of I"
        )
    elif layer.feedback is None:
        _warn_of_saturation(layer, bias + mean, threshold, width, grid.dt)


def _warn_of_path(
    path: Any,
    grid: TimeGrid,
    block: int,
    widths: Float[np.ndarray, "neurons latents"],
) -> None:
    """`widths` are those that each latent moves each neuron by. A jump of x in place of X is high, and soon over."""
    times = grid.times[::block]
    if len(times) < 2:
        return
    with jax.ensure_compile_time_eval():
        values = np.asarray(jax.vmap(path.evaluate)(jnp.asarray(times)), float)
    mean = np.diff(values, axis=0) / (block * grid.dt)
    driven = float(np.median(np.abs(mean @ widths.T).max(axis=0)))
    if driven > LARGEST_DRIVE:
        warn(
            f"the path given as increments moves the potential by about {driven:.3g} escape widths: it is X(t), the "
            "integral of the signal x(t), whose derivative drives the neurons; ratelike.SignalDrive takes a table of x, "
            "ratelike.FunctionDrive a function of time"
        )


def _warn_of_saturation(
    layer: Layer,
    potential: Float[np.ndarray, " neurons"],
    threshold: Float[np.ndarray, " neurons"],
    width: Float[np.ndarray, " neurons"],
    dt: float,
) -> None:
    distance = float(np.median((potential - threshold) / width))
    if distance < FAR_ABOVE:
        return
    # Values are wanted also while something else is traced; when a spike has lowered the potential most.
    with jax.ensure_compile_time_eval():
        h = layer.bias
        neuron = cast_to(layer.neuron, h.dtype)
        hazard = np.asarray(neuron.hazard(h, neuron.dead_time, neuron.mark(h)))
    if float(np.median(hazard)) * dt > CERTAIN:
        warn(
            f"neurons of network.layers[0] fire whenever their dead time permits, whatever comes in: their potential at "
            f"rest lies {distance:.3g} escape widths above threshold; do bias, threshold and width have the same unit?"
        )
