"""How trials are run: beside each other in threads, in batches, or one batch after the other within a transformation."""

from collections import deque
from collections.abc import Callable, Iterator
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
from ratelike._network import Network
from ratelike._numerics._running_moments import RunningMoments
from ratelike._population._all_cores import default_mesh
from ratelike._population._host_threads import call_compiled, host_threads
from ratelike._population._record import Spikes
from ratelike._population._spike_trains import SpikeTrains
from ratelike._signal._drive import AbstractDrive
from ratelike._signal._grid import TimeGrid
from ratelike._simulate import simulate

# What a trial's own input folds into its key. Layers fold their index, which is smaller.
OF_THE_DRIVE = validation.LARGEST_COUNT


class Trial(NamedTuple):
    """What is kept of one run."""

    outputs: Float[Array, "time latents"]
    rates: Float[Array, "layers time"]
    spikes: dict[int, SpikeTrains]
    succeeded: Bool[Array, " layers"]


class Averaged(NamedTuple):
    """What is kept of all runs; spikes have a leading axis of trials."""

    outputs: RunningMoments
    rates: RunningMoments
    spikes: dict[int, SpikeTrains]
    succeeded: Bool[Array, " layers"]
    dtype: np.dtype  # of the network


RunTrial = Callable[[Integer[Array, ""]], Trial]


def drive_of(drive: Any, key: Array) -> Any:
    """The input of the trial with this key."""
    if isinstance(drive, (AbstractDrive, diffrax.AbstractPath)) or not callable(drive):
        return drive
    return drive(jax.random.fold_in(key, OF_THE_DRIVE))


def run_trial(
    network: Network,
    drive: Any,
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    record: tuple[tuple[int, Any], ...],
    mesh: jax.sharding.Mesh | None,
    key: Array,
    number: Integer[Array, ""],
) -> Trial:
    own = jax.random.fold_in(key, number)
    asked = {layer: Spikes(neurons) for layer, neurons in record}
    run = simulate(
        network, drive_of(drive, own), grid, dynamics,
        key=own, record=asked, mesh=mesh,
    )  # fmt: skip
    return Trial(run.outputs, run.rates, run.spikes, run.succeeded)


# At top level


def at_top_level(
    run: RunTrial,
    num_trials: int,
    at_once: int | None,
    mesh: jax.sharding.Mesh | None,
) -> Averaged:
    """Means in float64, in the order of the trials, however many run beside each other."""
    threads = None
    if mesh is None and default_mesh() is None:
        threads = host_threads(run)
    if threads is not None:
        each = _in_threads(run, num_trials, at_once or threads.number)
    else:
        each = _in_batches(run, num_trials, at_once or 1)
    moments, spikes, dtype = [], [], np.dtype(float)
    for number, trial in enumerate(each):
        if not np.all(trial.succeeded):
            layer = int(np.argmin(np.asarray(trial.succeeded)))
            raise not_finite_error(f"trial {number}", f"in layer {layer}")
        dtype = np.dtype(trial.outputs.dtype)
        values = [np.asarray(x, np.float64) for x in (trial.outputs, trial.rates)]
        if not moments:
            moments = [RunningMoments(np.zeros_like(x), np.zeros_like(x)) for x in values]  # fmt: skip
        moments = [m.after(x, number + 1) for m, x in zip(moments, values, strict=True)]
        spikes.append(trial.spikes)
    stacked = jax.tree.map(lambda *trials: jnp.stack(trials), *spikes)
    succeeded = jnp.ones(len(moments[1].mean), bool)
    return Averaged(moments[0], moments[1], stacked, succeeded, dtype)


def _in_threads(run: RunTrial, num_trials: int, workers: int) -> Iterator[Trial]:
    """Trials in their order, not many more of which are in memory than run."""
    numbers = [jnp.asarray(number, jnp.int32) for number in range(num_trials)]
    # In this thread: what JAX has been told for it, such as its precision, is not known in others.
    program = cast(Any, call_compiled).lower(run, numbers[0]).compile()

    def work(number: Array) -> Trial:
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


def _in_batches(run: RunTrial, num_trials: int, at_once: int) -> Iterator[Trial]:
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
def _one(run: RunTrial, number: Integer[Array, ""]) -> Trial:
    return run(number)


@eqx.filter_jit
def _batch(run: RunTrial, numbers: Integer[Array, " trials"]) -> Trial:
    return jax.vmap(run)(numbers)


# Within a transformation


def within_jit(run: RunTrial, num_trials: int, at_once: int) -> Averaged:
    """Means in the precision of the network, in the order of the trials."""
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
    return Averaged(moments[0], moments[1], spikes, succeeded, zeros[0].dtype)
