"""What comes into a layer: a path, and where the run is a piece of a longer one, the state to begin with."""

from typing import Any

import diffrax
import equinox as eqx

from ratelike._population._layer_state import AbstractLayerState
from ratelike._types import PyTree


class Piece(eqx.Module):
    """A run that begins in a state (None: that in which runs begin otherwise), and tells the one at its end."""

    initial: AbstractLayerState | None
    synapse: PyTree = None  # state of that of the layer


class Incoming(eqx.Module):
    """The path, from which the synapse of the layer has been taken already."""

    path: diffrax.AbstractPath[Any]
    piece: Piece | None
