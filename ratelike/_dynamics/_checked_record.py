"""Checks of `record={layer: ...}`."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._spiking import Spiking
from ratelike._network import Network
from ratelike._population._record import Recorded, Spikes, Traces
from ratelike._signal._grid import TimeGrid

# What a caller may name for a layer: neurons, or what to keep of them, or one of each kind.
Record = Sequence[int] | Spikes | Traces | Sequence[Spikes | Traces]


def checked_record(
    network: Network,
    record: Mapping[int, Record] | None,
    grid: TimeGrid,
    dynamics: AbstractDynamics,
) -> dict[int, Recorded]:
    """Raises `ValueError` for layers and neurons that are not there, and for what the dynamics or the grid does not have."""
    chosen = {}
    record = {} if record is None else record
    validation.instance("record", record, Mapping)
    for layer, asked in record.items():
        if not isinstance(layer, (int, np.integer)) or layer not in range(
            network.depth
        ):
            raise ValueError(
                f"record must name layers from 0 to {network.depth - 1}, got {validation.shown(layer)}"
            )
        name, size = f"record[{layer}]", network.layers[layer].num_neurons
        fields = {}
        for one in _each(name, asked):
            if isinstance(one, Spikes):
                _check_spikes(name, dynamics)
                fields["spiking"] = _indices(name, one.neurons, size)
                fields["all_spike"] = one.neurons is None
            else:
                _check_every(name, one.every, grid)
                fields["neurons"] = _indices(name, one.neurons, size)
                fields["every"] = one.every
        chosen[layer] = Recorded(**fields)
    return chosen


def _each(name: str, asked: Any) -> list[Spikes | Traces]:
    """At most one of each kind."""
    if isinstance(asked, (Spikes, Traces)):
        return [asked]
    if isinstance(asked, Sequence):
        several = [one for one in asked if isinstance(one, (Spikes, Traces))]
        if several and len(several) == len(asked):
            if len({type(one) for one in several}) < len(several):
                raise ValueError(
                    f"{name} must hold one Spikes and one Traces at most, got {validation.shown(asked)}"
                )
            return several
    return [Traces(asked)]


def _indices(
    name: str, neurons: Sequence[int] | None, size: int
) -> Int[Array, " recorded"]:
    if neurons is None:
        return jnp.arange(size, dtype=jnp.int32)
    indices = np.atleast_1d(np.asarray(neurons))
    whole = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
    if not whole or np.any(indices < 0) or np.any(indices >= size):
        raise ValueError(
            f"{name} must list neurons from 0 to {size - 1}, got {validation.shown(neurons)}"
        )
    return jnp.asarray(indices, dtype=jnp.int32)


def _check_spikes(name: str, dynamics: AbstractDynamics) -> None:
    if not isinstance(dynamics, Spiking):
        raise ValueError(
            f"{name} must be Traces(...) or a list of neurons for {type(dynamics).__name__}, whose neurons have an "
            "expected activity and no spikes, got Spikes(...)"
        )


def _check_every(name: str, every: int, grid: TimeGrid) -> None:
    if grid.num_steps % every != 0:
        raise ValueError(
            f"{name}.every must divide the {grid.num_steps} steps of the grid, got {every}"
        )
