"""The verb: run a network on a grid under a dynamics."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._checked_record import Record
from ratelike._dynamics._finite import all_finite, not_finite_error
from ratelike._dynamics._incoming import Piece
from ratelike._dynamics._run_layer import LayerRun
from ratelike._dynamics._run_layers import run_layers
from ratelike._dynamics._state import State, check_goes_on, checked_grid
from ratelike._dynamics._stationary_state import StationaryState, settled_state
from ratelike._inputs import checked_inputs
from ratelike._network import Network
from ratelike._network._stage import LayerStage
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._casting import cast_to
from ratelike._population._all_cores import default_mesh
from ratelike._population._host_threads import (
    HostThreads,
    call_compiled,
    host_threads,
)
from ratelike._population._output import Recording
from ratelike._population._record import Recorded
from ratelike._population._spike_trains import SpikeTrains
from ratelike._population._sums import Workers
from ratelike._signal._drive import GridPath, Input, grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import traces_from
from ratelike._types import PyTree


class Trajectory(eqx.Module):
    """What a simulation returns; index n is the step from t_n to t_{n+1}.

    `outputs[n]` is read at the end of the step, at `times[n]` = t_{n+1}; `increments[n]` and `rates[n]` belong to the
    step as a whole, and are drawn at its middle, `step_times[n]`; entries of `recordings[layer]` to one or more steps,
    with middles `recording_times(layer)`.

    `increments` is stacked over layers; where layers hand on different numbers of latents, it is a tuple of arrays.
    `recordings` maps a layer's index to the `Recording` of its chosen neurons, `spikes` to the `SpikeTrains` of those
    whose spikes were kept. `saved` holds, for each layer, what the caller's `diffrax.SaveAt` asked for, or None, at
    times of its own.
    """

    outputs: Float[
        Array, "time latents"
    ]  # y = kappa * dX_L, after the increments of each step
    increments: Float[Array, "layers time latents"] | tuple[Float[Array, "time _"], ...]
    rates: Float[Array, "layers time"]  # Hz, mean over neurons, of each step
    recordings: dict[int, Recording]
    saved: tuple[PyTree, ...]
    succeeded: Bool[
        Array, " layers"
    ]  # whether each layer reached the end with finite potentials, probabilities and activities
    grid: TimeGrid
    final: State | None = None  # at the end, where `keep_final` asked for it
    spikes: dict[int, SpikeTrains] = eqx.field(default_factory=dict)

    @property
    def times(self) -> np.ndarray:
        """The end of each step in seconds, shape (time,), in float64: exact, also of a batch or under `jit`.

        These are the times of `outputs`; of what belongs to a step as a whole, `step_times` are.
        """
        return self.grid.times[1:]

    @property
    def step_times(self) -> np.ndarray:
        """The middle of each step in seconds, t_n + dt/2, shape (time,): for `rates`, `increments` and spikes."""
        return self.grid.times[:-1] + 0.5 * self.grid.dt

    def recording_times(self, layer: int) -> np.ndarray:
        """The middle of the steps of each entry of `recordings[layer]`, in seconds."""
        every = self.recordings[layer].every
        return self.grid.times[:-1:every] + 0.5 * every * self.grid.dt

    def spike_times(self, layer: int) -> list[Float[np.ndarray, " spikes"]]:
        """The spike times of each recorded neuron of a layer in seconds, in the order in which it was recorded.

            trajectory = rl.simulate(network, drive, grid, rl.Spiking(), key=key, record={0: rl.Spikes()})
            trains = trajectory.spike_times(0)

        A spike of step n is somewhere in it: its time is the step's middle, t_n + dt/2.

        Raises `ValueError` where no spikes of the layer were recorded, for rates, and for a batch.
        """
        spikes, recording = self.spikes.get(layer), self.recordings.get(layer)
        if spikes is not None:
            return spikes.times
        if recording is None:
            raise ValueError(
                f"layer must be one of those recorded, {sorted({*self.spikes, *self.recordings})} "
                f"(simulate(..., record={{{layer}: rl.Spikes()}}) keeps it), got {layer}"
            )
        activity = np.asarray(recording.activity)
        if activity.ndim != 2:
            raise ValueError(
                f"trajectory must be one run, got a batch with activities of shape {activity.shape}"
            )
        if recording.every > 1 or not np.all((activity == 0.0) | (activity == 1.0)):
            raise ValueError(
                "trajectory must be one of Spiking() with every=1, whose activity is 0 or 1 in each step, got activities "
                f"up to {activity.max():g} in {recording.every} steps"
            )
        return [self.step_times[fired > 0.0] for fired in activity.T]


@broadcasts
def simulate(
    network: Network,
    increments: Input,
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    *,
    key: Array | None = None,
    record: Mapping[int, Record] | None = None,
    mesh: jax.sharding.Mesh | None = None,
    initial: State | StationaryState | None = None,
    keep_final: bool = False,
) -> Trajectory:
    r"""Runs the layers of `network` one after the other, each turning the path that comes in into the one that goes out.

    `increments` is the external input X_0: a drive such as `SignalDrive` or `WienerDrive`, an array (time, latents) of its
    increments on `grid`, or any diffrax path X(t) that covers the grid. X is the integral of the signal x(t) that drives the
    neurons: an increment is x dt, not x, and a diffrax path of x itself would drive them by dx/dt. Under a constant x the
    potential settles at bias + E x. Of an input that implies a potential beyond 50 escape widths a warning says so.

    `record={layer: neurons}` keeps the potential and the activity of a list of neurons, `record={layer: rl.Neurons(every=k)}`
    those of all, k steps at a time, and `record={layer: rl.Spikes()}` all spikes, one bit for each neuron and step; a tuple
    holds one of either. `key` is for `Spiking`: layer l draws from `fold_in(key, l)`. The neurons of each layer
    are shared out among the devices of `mesh` (`jax.make_mesh`), over all its axes; without a mesh, and with all arrays on a processor, among threads, one for each of its cores. How
    many these are changes no bit of the result. Within `jit`, `vmap` or `grad` there are no threads: see `use_all_cores`.

    *Going on.* With `keep_final` the result has the state at its end in `trajectory.final`; with `initial=final` a run goes
    on from there, at the next step: `grid` says how many steps more, a drive goes on in time, and random numbers go on if
    the key is the same. Pieces are the whole run, bit for bit, however it is cut. Another network (a changed parameter, a
    lesion) or another input may take over where shapes agree; a potential stays where it is when a bias changes.

        first = rl.simulate(network, drive, rl.TimeGrid(1e-3, 500), rl.Spiking(), key=key, keep_final=True)
        second = rl.simulate(other, drive, rl.TimeGrid(1e-3, 500), rl.Spiking(), key=key, initial=first.final)

    `initial` may also be a `stationary_state`. A state belongs to its dynamics and its time step. Within `jit` the number
    of the step is not known, so that input has to be an array there.

    Everything is computed in the floating-point type of the first layer's encoder. Batch with `jax.vmap`, over `key`,
    `increments` or a network of stacked arrays.

    Raises `ValueError`, before anything compiles, for shapes and lengths that do not fit, values that are not finite,
    numbers in half precision or with a physical unit, a `GridPath` of another grid, an escape rate that is negative or
    not finite, a missing or raw key, and a dead time that is not a multiple of `grid.dt`; `RuntimeError` if a layer does
    not reach the end with finite values. Within `jax.jit` values cannot be looked at: look at `trajectory.succeeded`
    outside, which is False wherever potentials, firing probabilities or outputs were not finite.
    """
    state, grid = _started(network, initial, grid)
    path, key, recorded = checked_inputs(
        network, increments, grid, dynamics, key=key, record=record
    )
    if mesh is not None:
        validation.instance("mesh", mesh, jax.sharding.Mesh)
    pieces = None
    if state is not None or keep_final:
        check_goes_on(dynamics, network, grid, state)
        pieces = [Piece(None) for _ in network.layers]
        if state is not None:
            both = zip(state.layers, state.synapses, strict=True)
            pieces = [Piece(layer, synapse) for layer, synapse in both]
    start = None if state is None else state.outputs
    # Within a run steps count from 0.
    own_grid, path = _from_zero(path, grid, network.layers[0].dtype)
    arguments = (network, path, own_grid, dynamics, key, recorded, pieces, start)
    threads = None if mesh is not None else host_threads(arguments)
    if threads is not None:
        trajectory = _simulate(*arguments, threads)
    else:
        trajectory = _simulate_within_jit(*arguments, mesh or default_mesh())
    succeeded = trajectory.succeeded
    if validation.is_concrete(succeeded) and not bool(succeeded.all()):
        layer = int(np.argmin(np.asarray(succeeded)))
        raise not_finite_error("the simulation", f"in layer {layer}")
    return _with_final(trajectory, state, grid, keep_final)


def _started(
    network: Network, initial: State | StationaryState | None, grid: TimeGrid
) -> tuple[State | None, TimeGrid]:
    """The state to begin with, and the grid with the number of its first step."""
    if initial is None or not isinstance(grid, TimeGrid):  # which is refused later
        return None, grid
    if isinstance(initial, StationaryState):
        latents = (network.layers[0].num_latents,)
        validation.shape("initial.input", initial.input, latents)
        initial = settled_state(network, initial, grid.dt)
        return initial, grid
    validation.instance("initial", initial, State)
    return initial, checked_grid(initial, grid)


def _from_zero(
    path: diffrax.AbstractPath[Any], grid: TimeGrid, dtype: jnp.dtype
) -> tuple[TimeGrid, diffrax.AbstractPath[Any]]:
    if grid.first_step == 0:
        return grid, path
    own_grid = TimeGrid(grid.dt, grid.num_steps)
    return own_grid, GridPath(grid_increments(path, grid, dtype), own_grid)


def _with_final(
    trajectory: Trajectory, state: State | None, grid: TimeGrid, keep_final: bool
) -> Trajectory:
    final = trajectory.final if keep_final else None
    if final is not None:
        before = grid.first_step if state is None else state.step
        step = jnp.asarray(before + grid.num_steps, jnp.int32)
        final = dataclasses.replace(final, step=step)
    trains = {
        layer: dataclasses.replace(each, grid=grid)
        for layer, each in trajectory.spikes.items()
    }
    return dataclasses.replace(trajectory, grid=grid, final=final, spikes=trains)


@eqx.filter_jit
def _simulate_within_jit(
    network: Network,
    path: diffrax.AbstractPath[Any],
    *arguments: Any,
) -> Trajectory:
    # Under a caller's jit the network may be a constant. XLA folds constants with other rounding than it computes with
    # at run time, and a last bit would move a spike: the barrier keeps a simulation bitwise the same, jit or not.
    network, path = _unfolded((network, path))
    return _simulate(network, path, *arguments)


def _simulate(
    network: Network,
    path: diffrax.AbstractPath[Any],
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    key: Array | None,
    chosen: dict[int, Recorded],
    pieces: list[Piece] | None,
    start: Float[Array, " latents"] | None,
    workers: Workers,
) -> Trajectory:
    """`start` are the output membranes."""
    dtype = network.layers[0].dtype
    network, pieces, start = cast_to((network, pieces, start), dtype)
    stages = [LayerStage(layer) for layer in network.layers]
    runs = run_layers(
        dynamics,
        stages,
        path,
        grid,
        key=key,
        recorded=chosen,
        workers=workers,
        pieces=pieces,
    )
    # Spikes are large: a program would copy them.
    spikes = {i: run.spikes for i, run in enumerate(runs) if run.spikes is not None}
    runs = [dataclasses.replace(run, spikes=None) for run in runs]
    if isinstance(workers, HostThreads):
        trajectory = call_compiled(_trajectory, runs, network.output_tau_m, grid, start)
    else:
        trajectory = _trajectory(runs, network.output_tau_m, grid, start)
    return dataclasses.replace(trajectory, spikes=spikes)


def _trajectory(
    runs: list[LayerRun],
    output_tau_m: Float[Array, ""],
    grid: TimeGrid,
    start: Float[Array, " latents"] | None,
) -> Trajectory:
    increments = [run.mean.latents for run in runs]
    rates = [run.mean.spikes / grid.dt for run in runs]
    same = len({layer.shape for layer in increments}) == 1
    recordings = {
        index: run.recording
        for index, run in enumerate(runs)
        if run.recording is not None
    }
    if start is None:
        start = jnp.zeros_like(increments[-1][0])
    outputs = traces_from(start, increments[-1], output_tau_m, grid.dt)
    succeeded = [run.succeeded for run in runs]
    succeeded[-1] &= all_finite(outputs)
    states = [run.final for run in runs if run.final is not None]
    final = None
    if states:
        synapses = tuple(run.synapse for run in runs)
        step = jnp.zeros((), jnp.int32)
        final = State(tuple(states), synapses, outputs[-1], step, grid.dt)
    return Trajectory(
        outputs=outputs,
        increments=jnp.stack(increments) if same else tuple(increments),
        rates=jnp.stack(rates),
        recordings=recordings,
        saved=tuple(run.saved for run in runs),
        succeeded=jnp.stack(succeeded),
        grid=grid,
        final=final,
    )


def _unfolded(tree: PyTree) -> PyTree:
    # Whole numbers need no barrier, and behind one they would look differentiated to diffrax's adjoint.
    def may_round(leaf):
        return eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jnp.integer)

    arrays, rest = eqx.partition(tree, may_round)
    # One by one: behind one barrier for all, all would look differentiated where some are.
    return eqx.combine(jax.tree.map(jax.lax.optimization_barrier, arrays), rest)
