"""The verb: the same network many times, and what is left after averaging."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._spiking import Spiking
from ratelike._inputs import checked_inputs
from ratelike._network import Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._population._record import Spikes
from ratelike._population._spike_trains import SpikeTrains
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid
from ratelike._study._trial_runs import (
    Averaged,
    at_top_level,
    drive_of,
    run_trial,
    within_jit,
)


class Trials(eqx.Module):
    """Means over trials, with their standard errors: NaN for one trial.

    `outputs[n]` and its error are read at the end of step n, at `times[n]`; `rates[n]` belongs to the step as a whole,
    and is drawn at its middle, `step_times[n]`. `spikes` maps a layer to `SpikeTrains` with a leading axis of trials.
    """

    outputs: Float[Array, "*batch time latents"]
    outputs_error: Float[Array, "*batch time latents"]
    rates: Float[Array, "*batch layers time"]  # Hz, mean over neurons
    rates_error: Float[Array, "*batch layers time"]
    spikes: dict[int, SpikeTrains]
    # Whether each layer reached the end with finite values, in all trials.
    succeeded: Bool[Array, "*batch layers"]
    num_trials: int = eqx.field(static=True)
    grid: TimeGrid

    @property
    def times(self) -> np.ndarray:
        """The end of each step in seconds."""
        return self.grid.times[1:]

    @property
    def step_times(self) -> np.ndarray:
        """The middle of each step in seconds."""
        return self.grid.times[:-1] + 0.5 * self.grid.dt

    def spike_times(self, layer: int) -> list[list[Float[np.ndarray, " spikes"]]]:
        """For each trial the spike times of each neuron, in seconds: `trials.spike_times(layer)[trial][neuron]`."""
        if layer not in self.spikes:
            raise ValueError(
                f"layer must be one of those recorded, {sorted(self.spikes)} (trials(..., record={{{layer}: "
                f"rl.Spikes()}}) keeps it), got {layer}"
            )
        spikes = self.spikes[layer]
        if np.ndim(spikes.words) != 3:
            raise ValueError(
                f"trials must be one set of trials, got a batch with words of shape {np.shape(spikes.words)}"
            )
        return [
            jax.tree.map(lambda leaf, trial=trial: leaf[trial], spikes).times
            for trial in range(self.num_trials)
        ]


@broadcasts
def trials(
    network: Network,
    drive: Input | Callable[[Array], Input],
    grid: TimeGrid,
    *,
    key: Array,
    num_trials: int,
    dynamics: AbstractDynamics | None = None,
    record: Mapping[int, Spikes] | None = None,
    at_once: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Trials:
    r"""Mean and standard error of outputs and rates over `num_trials` runs of one network; by default of `Spiking()`.

        drive = rl.WienerDrive(network.layers[0].num_latents, key=jax.random.key(1))
        mean = rl.trials(network, drive, grid, key=jax.random.key(2), num_trials=100)
        ax.errorbar(mean.times, mean.outputs[:, 0], mean.outputs_error[:, 0])

    Trial t is `simulate(..., key=fold_in(key, t))`: more trials go on where fewer ended. `drive` is the input of all
    trials, or a function of a key that makes one for each: `lambda key: rl.WienerDrive(2, key=key)`.
    `record={layer: rl.Spikes()}` keeps the spikes of every trial. Apart from these memory does not grow with the number
    of trials.

    `at_once` trials run beside each other: on a processor as threads, by default one for each core; elsewhere as a
    batch, by default of one. The neurons of each are shared out among the devices of a `mesh`. None of this changes a
    bit of the result. At top level means are taken in float64 (Welford's algorithm); within `jit` and `vmap`, where
    trials run one batch after the other on one core (see `use_all_cores`), in the network's precision.

    Raises `ValueError` for `num_trials` or `at_once` < 1, another record than `Spikes`, and whatever `simulate` objects
    to; `RuntimeError`, which names the first trial, where a run does not reach the end with finite values.
    """
    num_trials = validation.count("num_trials", num_trials)
    if at_once is not None:
        at_once = validation.count("at_once", at_once)
    key = validation.typed_key("key", key)
    dynamics = Spiking() if dynamics is None else dynamics
    record = {} if record is None else record
    for layer, kept in _checked_mapping(record).items():
        if not isinstance(kept, Spikes):
            raise ValueError(
                f"record[{layer}] must be Spikes(...) for trials, got {validation.shown(kept)}; simulate one trial, "
                "with key=jax.random.fold_in(key, trial), for potentials and activities"
            )
    first = drive_of(drive, jax.random.fold_in(key, 0))
    checked_inputs(network, first, grid, dynamics, key=key, record=record)
    run = eqx.Partial(
        run_trial, network, drive, grid, dynamics, _hashable(record), mesh, key
    )
    if validation.is_concrete((run, jnp.zeros(()))):
        averaged = at_top_level(run, num_trials, at_once, mesh)
    else:
        averaged = within_jit(run, num_trials, at_once or 1)
    return _result(averaged, num_trials, grid)


def _checked_mapping(record: Any) -> Mapping[int, Any]:
    validation.instance("record", record, Mapping)
    return record


def _hashable(record: Mapping[int, Spikes]) -> tuple[tuple[int, Any], ...]:
    """So that the same trials compile once."""

    def listed(neurons: Sequence[int] | None) -> tuple[int, ...] | None:
        return None if neurons is None else tuple(np.atleast_1d(neurons).tolist())

    return tuple((int(layer), listed(kept.neurons)) for layer, kept in record.items())


def _result(averaged: Averaged, num_trials: int, grid: TimeGrid) -> Trials:
    outputs, rates, dtype = averaged.outputs, averaged.rates, averaged.dtype
    return Trials(
        outputs=jnp.asarray(outputs.mean, dtype),
        outputs_error=jnp.asarray(outputs.standard_error(num_trials), dtype),
        rates=jnp.asarray(rates.mean, dtype),
        rates_error=jnp.asarray(rates.standard_error(num_trials), dtype),
        spikes=averaged.spikes,
        succeeded=averaged.succeeded,
        num_trials=num_trials,
        grid=grid,
    )
