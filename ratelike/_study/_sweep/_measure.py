"""What is measured in a cell: the errors of a convergence study, or whatever the user's function returns."""

import abc
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key, Shaped

from ratelike._io._units import CONVERGENCE_UNITS
from ratelike._network import Network
from ratelike._signal._grid import TimeGrid
from ratelike._study._cell import run_cell
from ratelike._study._checks import check_is_network
from ratelike._study._study import Study
from ratelike._study._sweep._plan import PlannedCell, key_of_point

MakeNetwork = Callable[..., Network]
Measure = Callable[[Network, TimeGrid, Array], Mapping[str, Any]]


@dataclass(frozen=True)
class Measured:
    """All trials of one cell."""

    values: dict[str, Shaped[np.ndarray, "_ ..."]]  # (trials, ...)
    num_trials: int
    neuron_steps: int


class AbstractCellMeasure(abc.ABC):
    """What is computed in each cell."""

    @abc.abstractmethod
    def options(self) -> dict[str, Any]:
        """The arguments of `sweep` that distinguish it, by name; the network, the grid and the key are not among them."""

    @abc.abstractmethod
    def check(self, cell: PlannedCell, key: Key[Array, ""]) -> None:
        """Raises `ValueError` for a network that cannot be measured, before anything compiles."""

    @abc.abstractmethod
    def __call__(self, cell: PlannedCell, key: Key[Array, ""]) -> Measured: ...


@dataclass(frozen=True)
class MeasureConvergence(AbstractCellMeasure):
    """Trials of `ratelike.convergence`, with the keys that it would use if `num_neurons` is the only axis."""

    study: Study  # its `make_network` takes the axes and a key
    burn_in: int
    budget: int | None
    # The study and the size of each point that was checked: a new one would compile the making of its networks again.
    _of_points: dict[int, tuple[Study, int]] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        return {
            "burn_in": self.burn_in,
            "budget": self.budget,
            "make_drive": self.study.make_drive,
            "dynamics": self.study.dynamics,
        }

    def check(self, cell: PlannedCell, key: Key[Array, ""]) -> None:
        if cell.point in self._of_points:
            return
        parameters = cell.parameters

        def make_network(size: int, network_key: Array) -> Any:  # the user's
            return self.study.make_network(**parameters, key=network_key)

        network = make_network(0, key)
        check_is_network(network)
        size = parameters.get("num_neurons", network.layers[0].num_neurons)
        replace(self.study, make_network=lambda *_: network).check(size, key)
        study = replace(self.study, make_network=make_network)
        self._of_points[cell.point] = study, size

    def __call__(self, cell: PlannedCell, key: Key[Array, ""]) -> Measured:
        self.check(cell, key)
        study, size = self._of_points[cell.point]
        # The size is folded in by `run_cell`.
        others = {
            name: label for name, label in cell.labels.items() if name != "num_neurons"
        }
        key = key_of_point(key, others)
        budget = size if self.budget is None else max(size, self.budget)
        run = run_cell(study, size, cell.block, key, budget, self.burn_in)
        errors = run.generalised, run.conventional, run.rates
        values = dict(zip(CONVERGENCE_UNITS, errors, strict=True))
        for name, array in values.items():
            if not np.all(np.isfinite(array)):
                raise RuntimeError(
                    f"{name} is not finite in a trial, got {array}: the solver did not reach the end, or overflowed"
                )
        return Measured(values, len(run.rates), run.neuron_steps)


@dataclass(frozen=True)
class MeasureNetwork(AbstractCellMeasure):
    """The user's function of one network: one trial for each cell."""

    make_network: MakeNetwork
    grid: TimeGrid
    measure: Measure

    def options(self) -> dict[str, Any]:
        return {"measure": self.measure}

    def check(self, cell: PlannedCell, key: Key[Array, ""]) -> None:
        self._network(cell, key)

    def __call__(self, cell: PlannedCell, key: Key[Array, ""]) -> Measured:
        trial_key = jax.random.fold_in(key_of_point(key, cell.labels), cell.block)
        network_key, measure_key = jax.random.split(trial_key)
        network = self._network(cell, network_key)
        values = _checked_values(self.measure(network, self.grid, measure_key))
        neurons = sum(layer.num_neurons for layer in network.layers)
        return Measured(
            {name: array[None] for name, array in values.items()},
            num_trials=1,
            neuron_steps=neurons * self.grid.num_steps,
        )

    def _network(self, cell: PlannedCell, key: Key[Array, ""]) -> Network:
        network = self.make_network(**cell.parameters, key=key)
        check_is_network(network)
        return network


def check_parameters(make_network: MakeNetwork, cell: PlannedCell) -> None:
    """`make_network` can be called with the axes by name."""
    try:
        signature = inspect.signature(make_network)
    except (TypeError, ValueError):  # not a Python function: the call will tell
        return
    try:
        signature.bind(**cell.parameters, key=None)
    except TypeError as error:
        names = ", ".join([*cell.parameters, "key"])
        raise ValueError(
            f"make_network must take {names} as keyword arguments, got {make_network!r}: {error}"
        ) from None


def _checked_values(values: Any) -> dict[str, Shaped[np.ndarray, "..."]]:
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"measure must return a dict of arrays, got {values!r}")
    checked = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(
                f"measure must name its results by strings without '/', got {name!r}"
            )
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"measure must return real numbers, got {array.dtype} in {name!r}"
            )
        checked[name] = array
    return checked
