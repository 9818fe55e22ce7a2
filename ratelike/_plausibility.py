"""Mistakes that run, and whose results look like results: one line of warning."""

import os
import sys
import warnings
from typing import Any

import numpy as np

from ratelike import _validation as validation
from ratelike._drive import GridPath
from ratelike._grid import TimeGrid
from ratelike._network import Layer, Network
from ratelike._neuron._escape_rates import KNOWN

# Of a population so many neurons are looked at.
NEURONS = 64
# Escape widths from the potential at rest. Even deterministic neurons are seldom driven by more than a few dozen.
LARGEST_DRIVE = 50.0
# A hazard of so much in one step leaves e^-10 of the neurons silent.
CERTAIN = 10.0


def warn(message: str) -> None:
    """At the caller's own line, outside of the library."""
    here = os.path.dirname(os.path.abspath(__file__)) + os.sep
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level - 1)


def warn_of_input(network: Network, path: Any, grid: TimeGrid) -> None:
    """Increments of a current without `dt`, and neurons that fire whenever they may; of concrete arrays only."""
    layer = network.layers[0]
    neuron = layer.neuron
    escape = getattr(neuron, "escape", None)
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
    encoder = np.asarray(layer.encoder[:NEURONS], float)
    values = np.asarray(path.values, float)
    mean = encoder @ values.mean(axis=0) / grid.dt
    # As if steps did not know of each other, as in white noise. Of a slow current it is too little.
    variance = encoder**2 @ values.var(axis=0) / (2.0 * tau_m * grid.dt)
    driven = float(np.median(np.sqrt(mean**2 + variance) / width))
    if driven > LARGEST_DRIVE:
        warn(
            f"increments move the potential by about {driven:.3g} escape widths: they are increments of a path, not a "
            "current I, of which they are I * dt"
        )
    elif layer.feedback is None:
        _warn_of_saturation(layer, bias + mean, threshold, width, grid.dt)


def _warn_of_saturation(layer, potential, threshold, width, dt: float) -> None:
    distance = float(np.median((potential - threshold) / width))
    if (
        distance < CERTAIN
    ):  # a cheap look first: even at 1 kHz and 1 ms, e^10 dt is needed
        return
    hazard = _hazard_after_dead_time(layer, potential)
    if float(np.median(hazard)) * dt > CERTAIN:
        warn(
            f"neurons of network.layers[0] fire whenever their dead time permits, whatever comes in: their potential at "
            f"rest lies {distance:.3g} escape widths above threshold; do bias, threshold and width have the same unit?"
        )


def _hazard_after_dead_time(layer: Layer, potential: np.ndarray) -> np.ndarray:
    """In hertz, where a spike has lowered it most."""
    import jax.numpy as jnp

    neuron, h = layer.neuron, jnp.asarray(potential, layer.bias.dtype)
    part = jax_first(neuron, len(potential))
    return np.asarray(part.hazard(h, part.dead_time, part.mark(h)))
