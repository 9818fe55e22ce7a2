"""The verb: the same network many times, and what is left after averaging."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._finite import not_finite_error
from ratelike._dynamics._spiking import Spiking
from ratelike._inputs import checked_inputs
from ratelike._network import Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._running_moments import RunningMoments
from ratelike._population._all_cores import default_mesh
from ratelike._population._host_threads import call_compiled, host_threads
from ratelike._population._record import Spikes
from ratelike._population._spike_trains import SpikeTrains
from ratelike._signal._drive import AbstractDrive, Input
from ratelike._signal._grid import TimeGrid
from ratelike._simulate import simulate

# What a trial's own input folds into its key. Layers fold their index, which is smaller.
OF_THE_DRIVE = validation.LARGEST_COUNT


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
    first = _drive_of(drive, jax.random.fold_in(key, 0))
    checked_inputs(network, first, grid, dynamics, key=key, record=record)
    run = eqx.Partial(
        _run_trial, network, drive, grid, dynamics, _hashable(record), mesh, key
    )
    if validation.is_concrete((run, jnp.zeros(()))):
        return _at_top_level(run, num_trials, at_once, grid, mesh)
    return _within_jit(run, num_trials, at_once or 1, grid)


class _Trial(NamedTuple):
    outputs: Array
    rates: Array
    spikes: dict[int, SpikeTrains]
    succeeded: Array


RunTrial = Callable[[Integer[Array, ""]], _Trial]


def _checked_mapping(record: Any) -> Mapping[int, Any]:
    validation.instance("record", record, Mapping)
    return record


def _hashable(record: Mapping[int, Spikes]) -> tuple[tuple[int, Any], ...]:
    """So that the same trials compile once."""

    def listed(neurons: Sequence[int] | None) -> tuple[int, ...] | None:
        return None if neurons is None else tuple(np.atleast_1d(neurons).tolist())

    return tuple((int(layer), listed(kept.neurons)) for layer, kept in record.items())


def _drive_of(drive: Any, key: Array) -> Any:
    """The input of the trial with this key."""
    if isinstance(drive, (AbstractDrive, diffrax.AbstractPath)) or not callable(drive):
        return drive
    return drive(jax.random.fold_in(key, OF_THE_DRIVE))


def _run_trial(
    network: Network,
    drive: Any,
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    record: tuple[tuple[int, Any], ...],
    mesh: jax.sharding.Mesh | None,
    key: Array,
    number: Integer[Array, ""],
) -> _Trial:
    own = jax.random.fold_in(key, number)
    asked = {layer: Spikes(neurons) for layer, neurons in record}
    run = simulate(
        network, _drive_of(drive, own), grid, dynamics,
        key=own, record=asked, mesh=mesh,
    )  # fmt: skip
    return _Trial(run.outputs, run.rates, run.spikes, run.succeeded)


# At top level


def _at_top_level(
    run: RunTrial,
    num_trials: int,
    at_once: int | None,
    grid: TimeGrid,
    mesh: jax.sharding.Mesh | None,
) -> Trials:
    threads = None
    if mesh is None and default_mesh() is None:
        threads = host_threads(run)
    if threads is not None:
        each = _in_threads(run, num_trials, at_once or threads.number)
    else:
        each = _in_batches(run, num_trials, at_once or 1)
    moments, spikes, dtype = None, [], None
    for number, trial in enumerate(each):
        if not np.all(trial.succeeded):
            layer = int(np.argmin(np.asarray(trial.succeeded)))
            raise not_finite_error(f"trial {number}", f"in layer {layer}")
        dtype = trial.outputs.dtype
        values = [np.asarray(x, np.float64) for x in (trial.outputs, trial.rates)]
        if moments is None:
            moments = [RunningMoments(np.zeros_like(x), np.zeros_like(x)) for x in values]  # fmt: skip
        moments = [m.after(x, number + 1) for m, x in zip(moments, values, strict=True)]
        spikes.append(trial.spikes)
    assert moments is not None
    stacked = jax.tree.map(lambda *trials: jnp.stack(trials), *spikes)
    succeeded = jnp.ones(len(moments[1].mean), bool)
    return _result(moments, stacked, succeeded, num_trials, grid, dtype)


def _in_threads(run: RunTrial, num_trials: int, workers: int) -> Iterator[_Trial]:
    """Trials in their order, not many more of which are in memory than run."""
    numbers = [jnp.asarray(number, jnp.int32) for number in range(num_trials)]
    # In this thread: what JAX has been told for it, such as its precision, is not known in others.
    program = cast(Any, call_compiled).lower(run, numbers[0]).compile()

    def work(number: Array) -> _Trial:
        return jax.block_until_ready(program(run, number))

    with ThreadPoolExecutor(min(workers, num_trials)) as pool:
        running = deque()
        try:
            for number in numbers:
                running.append(pool.submit(work, number))
                if len(running) > workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _in_batches(run: RunTrial, num_trials: int, at_once: int) -> Iterator[_Trial]:
    for first in range(0, num_trials, at_once):
        if at_once == 1:
            yield _one(run, jnp.asarray(first, jnp.int32))
            continue
        # The last one runs again where it does not fill its batch: one program serves all.
        numbers = np.minimum(np.arange(first, first + at_once), num_trials - 1)
        batch = jax.device_get(_batch(run, jnp.asarray(numbers, jnp.int32)))
        for i in range(min(at_once, num_trials - first)):
            yield jax.tree.map(lambda leaf, i=i: leaf[i], batch)


@eqx.filter_jit
def _one(run: RunTrial, number: Integer[Array, ""]) -> _Trial:
    return run(number)


@eqx.filter_jit
def _batch(run: RunTrial, numbers: Integer[Array, " trials"]) -> _Trial:
    return jax.vmap(run)(numbers)


# Within a transformation


def _within_jit(run: RunTrial, num_trials: int, at_once: int, grid: TimeGrid) -> Trials:
    at_once = min(at_once, num_trials)
    shapes = jax.eval_shape(run, jnp.asarray(0, jnp.int32))
    zeros = [jnp.zeros(x.shape, x.dtype) for x in (shapes.outputs, shapes.rates)]
    moments = [RunningMoments(x, x) for x in zeros]
    succeeded = jnp.ones(shapes.succeeded.shape, bool)

    def one_batch(carry: tuple, first: Array) -> tuple[tuple, dict[int, SpikeTrains]]:
        # Beyond the last trial it runs once more, and does not count.
        numbers = first + jnp.arange(at_once, dtype=jnp.int32)
        batch = jax.vmap(run)(jnp.minimum(numbers, num_trials - 1))

        def add(carry: tuple, each: tuple) -> tuple[tuple, None]:
            (moments, succeeded), (number, outputs, rates, fine) = carry, each
            added = [
                m.after(x, (number + 1).astype(x.dtype))
                for m, x in zip(moments, (outputs, rates), strict=True)
            ]
            new = (added, succeeded & fine)
            counts = number < num_trials
            chosen = jax.tree.map(lambda a, b: jnp.where(counts, a, b), new, carry)
            return chosen, None

        each = (numbers, batch.outputs, batch.rates, batch.succeeded)
        return jax.lax.scan(add, carry, each)[0], batch.spikes

    firsts = jnp.arange(0, num_trials, at_once, dtype=jnp.int32)
    carry = (moments, succeeded)
    (moments, succeeded), spikes = jax.lax.scan(one_batch, carry, firsts)
    spikes = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:])[:num_trials], spikes
    )  # (batches, trials of each, ...)
    return _result(moments, spikes, succeeded, num_trials, grid, zeros[0].dtype)


def _result(
    moments: Sequence[RunningMoments],
    spikes: dict[int, SpikeTrains],
    succeeded: Bool[Array, " layers"],
    num_trials: int,
    grid: TimeGrid,
    dtype: Any,
) -> Trials:
    outputs, rates = moments
    return Trials(
        outputs=jnp.asarray(outputs.mean, dtype),
        outputs_error=jnp.asarray(outputs.standard_error(num_trials), dtype),
        rates=jnp.asarray(rates.mean, dtype),
        rates_error=jnp.asarray(rates.standard_error(num_trials), dtype),
        spikes=spikes,
        succeeded=succeeded,
        num_trials=num_trials,
        grid=grid,
    )
