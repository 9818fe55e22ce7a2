"""The verb: run a network on a grid under a dynamics."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._checked_record import Record
from ratelike._dynamics._finite import not_finite_error
from ratelike._dynamics._incoming import Piece
from ratelike._dynamics._run_layers import run_layers
from ratelike._dynamics._state import State, check_goes_on, checked_grid
from ratelike._dynamics._stationary_state import StationaryState, settled_state
from ratelike._dynamics._trajectory import Trajectory, trajectory_of
from ratelike._inputs import checked_inputs
from ratelike._network import AbstractLayer, Layer, Network
from ratelike._network._stage import LayerStage
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._casting import cast_to
from ratelike._population._all_cores import workers_for
from ratelike._population._host_threads import HostThreads, call_compiled
from ratelike._population._record import Recorded
from ratelike._population._sums import Workers, caller
from ratelike._signal._drive import GridPath, Input, grid_increments
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree

# Steps of `neurons_at_once` neurons, of a layer: in one program they take some milliseconds.
FEW_BLOCKS = 250.0


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
    increments on `grid`, any diffrax path X(t) that covers the grid, or None where the first layer takes no latents. X is
    the integral of the signal x(t) that drives the neurons: an increment is x dt, not x, and a diffrax path of x itself
    would drive them by dx/dt. Under a constant x the potential settles at bias + E x. Of an input that implies a potential
    beyond 50 escape widths a warning says so.

    `record={layer: neurons}` keeps the potential and the activity of a list of neurons, `record={layer: rl.Traces(every=k)}`
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
    keep_final = validation.flag("keep_final", keep_final)
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
    workers = workers_for(mesh, arguments)
    if not isinstance(workers, HostThreads):
        trajectory = _simulate_within_jit(*arguments, workers)
    elif _is_short(network, grid, dynamics):
        trajectory = call_compiled(_simulate_unfolded, *arguments, None)
    else:
        trajectory = _simulate(*arguments, workers)
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


def _is_short(network: Network, grid: TimeGrid, dynamics: AbstractDynamics) -> bool:
    """Whether threads, and programs of their own for each layer, would take more time than they save."""

    def blocks(layer: AbstractLayer) -> float:
        size = dynamics.neurons_at_once(layer.neuron, grid) or layer.num_neurons
        return grid.num_steps * max(layer.num_neurons / size, 0.25)

    return max(map(blocks, network.layers)) < FEW_BLOCKS


def _simulate_unfolded(
    network: Network,
    path: diffrax.AbstractPath[Any],
    *arguments: Any,
) -> Trajectory:
    # Under a caller's jit the network may be a constant. XLA folds constants with other rounding than it computes with
    # at run time, and a last bit would move a spike: the barrier keeps a simulation bitwise the same, jit or not.
    network, path = _unfolded((network, path))
    return _simulate(network, path, *arguments)


_simulate_within_jit = eqx.filter_jit(_simulate_unfolded)


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
    parts = tuple(
        layer.parts if isinstance(layer, Layer) else () for layer in network.layers
    )
    of_runs = runs, network.output_tau_m, grid, start, parts
    trajectory = caller(workers)(trajectory_of, *of_runs)
    return dataclasses.replace(trajectory, spikes=spikes)


def _unfolded(tree: PyTree) -> PyTree:
    # Whole numbers need no barrier, and behind one they would look differentiated to diffrax's adjoint.
    def may_round(leaf):
        return eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jnp.integer)

    arrays, rest = eqx.partition(tree, may_round)
    # One by one: behind one barrier for all, all would look differentiated where some are.
    return eqx.combine(jax.tree.map(jax.lax.optimization_barrier, arrays), rest)
