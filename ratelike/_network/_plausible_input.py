"""Whether the input of a network is of the size that its neurons are made for."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ratelike import _validation as validation
from ratelike._network import Layer, Network
from ratelike._neuron._escape_rates import KNOWN
from ratelike._numerics._casting import cast_to
from ratelike._signal._drive import GridPath
from ratelike._signal._grid import TimeGrid
from ratelike._validation._plausibility import warn

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
    known = isinstance(path, GridPath) and type(escape) in KNOWN
    if not known or not isinstance(layer, Layer):
        return
    arrays = (neuron, layer.encoder, layer.bias, path.values)
    if not validation.is_concrete(arrays):
        return
    width, threshold, tau_m, bias = (
        np.broadcast_to(np.asarray(each, float), (layer.num_neurons,))[:NEURONS]
        for each in (escape.width, escape.threshold, neuron.tau_m, layer.bias)
    )
    encoder = np.asarray(layer.encoder)[:NEURONS].astype(float)
    values = np.asarray(path.values, float)
    mean = encoder @ values.mean(axis=0) / grid.dt
    # As if steps did not know of each other, as in white noise. Of a slow current it is too little.
    variance = encoder**2 @ values.var(axis=0) / (2.0 * tau_m * grid.dt)
    if layer.synapse is not None:
        variance = 0.0 * variance  # synapses may leave any part of it
    driven = float(np.median(np.sqrt(mean**2 + variance) / width))
    if driven > LARGEST_DRIVE:
        warn(
            f"increments move the potential by about {driven:.3g} escape widths: they are increments of a path, not a "
            "current I, of which they are I * dt"
        )
    elif layer.feedback is None:
        _warn_of_saturation(layer, bias + mean, threshold, width, grid.dt)


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
