"""The verb: run a network on a grid under a dynamics."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from ratelike import _validation as validation
from ratelike._dynamics._base import AbstractDynamics
from ratelike._dynamics._finite import all_finite
from ratelike._dynamics._run_layers import run_layers
from ratelike._network import Network, check_population
from ratelike._network._feedback import check_feedback
from ratelike._network._plausible_input import warn_of_input
from ratelike._neuron import check_neuron
from ratelike._numerics._broadcasting import broadcasts
from ratelike._population._output import Recording
from ratelike._signal._drive import GridPath, Input, as_path
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import membrane_traces
from ratelike._types import PyTree

NOT_REACHED = "did not reach the end of the grid with finite values"
ADVICE = (
    "With a diffrax solver other than AgeShift: increase max_steps, take shorter steps or wider age bins, loosen the "
    "tolerances, or choose another solver. Else look at the input, at parameters and at escape rates and kernels of your "
    "own, which may be too large or not finite."
)


class Trajectory(eqx.Module):
    """What a simulation returns; index n is the step from t_n to t_{n+1}.

    `outputs[n]` is read at the end of the step, at `times[n]` = t_{n+1}; `increments[n]`, `rates[n]` and the entries of
    `recordings` belong to the step as a whole, and are drawn at its middle.

    `increments` is stacked over layers; where layers hand on different numbers of latents, it is a tuple of arrays.
    `recordings` maps a layer's index to the `Recording` of its chosen neurons. `saved` holds, for each layer, what
    the caller's `diffrax.SaveAt` asked for, or None.
    """

    outputs: Float[
        Array, "time latents"
    ]  # y = kappa * dX_L, after the increments of each step
    increments: Float[Array, "layers time latents"] | tuple[Float[Array, "time _"], ...]
    rates: Float[Array, "layers time"]  # Hz, mean over neurons
    recordings: dict[int, Recording]
    saved: tuple[PyTree, ...]
    succeeded: Bool[
        Array, " layers"
    ]  # whether each layer reached the end with finite potentials, probabilities and activities
    grid: TimeGrid

    @property
    def times(self) -> np.ndarray:
        """The end of each step in seconds, shape (time,), in float64: exact, also of a batch or under `jit`."""
        return self.grid.times[1:]


@broadcasts
def simulate(
    network: Network,
    increments: Input,
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    *,
    key: Array | None = None,
    record: Mapping[int, Sequence[int]] | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Trajectory:
    r"""Runs the layers of `network` one after the other, each turning the path that comes in into the one that goes out.

    `increments` is the external input X_0: an array (time, latents) of its increments on `grid`, a drive such as
    `WienerDrive`, or any diffrax path that covers the grid. `record={layer: neurons}` keeps the potential and the
    activity of chosen neurons. `key` is for `Spiking`: layer l draws from `fold_in(key, l)`. The neurons of each layer
    are shared out among the devices of `mesh` (`jax.make_mesh`), over all its axes. How many these are changes no bit of the result.

    Everything is computed in the floating-point type of the first layer's encoder. Batch with `jax.vmap`, over `key`,
    `increments` or a network of stacked arrays.

    Raises `ValueError`, before anything compiles, for shapes and lengths that do not fit, values that are not finite,
    numbers in half precision or with a physical unit, a `GridPath` of another grid, an escape rate that is negative or
    not finite, a missing or raw key, and a dead time that is not a multiple of `grid.dt`; `RuntimeError` if a layer does
    not reach the end with finite values. Within `jax.jit` values cannot be looked at: look at `trajectory.succeeded`
    outside, which is False wherever potentials, firing probabilities or outputs were not finite.
    """
    path, key, chosen = _checked(network, increments, grid, dynamics, key, record)
    if mesh is not None:
        validation.instance("mesh", mesh, jax.sharding.Mesh)
    trajectory = _simulate(network, path, grid, dynamics, key, chosen, mesh)
    succeeded = trajectory.succeeded
    if validation.is_concrete(succeeded) and not bool(succeeded.all()):
        layer = int(np.argmin(np.asarray(succeeded)))
        raise RuntimeError(f"the simulation {NOT_REACHED} in layer {layer}. {ADVICE}")
    return trajectory


@eqx.filter_jit
def _simulate(
    network: Network,
    path: diffrax.AbstractPath[Any],
    grid: TimeGrid,
    dynamics: AbstractDynamics,
    key: Array | None,
    chosen: dict[int, Integer[Array, " recorded"]],
    mesh: jax.sharding.Mesh | None,
) -> Trajectory:
    dtype = network.layers[0].dtype
    network = jax.tree.map(lambda leaf: _cast(leaf, dtype), network)
    # Under a caller's jit the network may be a constant. XLA folds constants with other rounding than it computes with
    # at run time, and a last bit would move a spike: the barrier keeps a simulation bitwise the same, jit or not.
    network, path = _unfolded((network, path))
    runs = run_layers(
        dynamics, network.layers, path, grid, key=key, recorded=chosen, mesh=mesh
    )
    means = [
        run.decoded / layer.num_neurons
        for run, layer in zip(runs, network.layers, strict=True)
    ]
    increments = [mean[:, :-1] for mean in means]
    rates = [mean[:, -1] / grid.dt for mean in means]
    same = len({layer.shape for layer in increments}) == 1
    recordings = {
        index: run.recording
        for index, run in enumerate(runs)
        if run.recording is not None
    }
    outputs = membrane_traces(increments[-1], network.output_tau_m, grid.dt)
    succeeded = [run.succeeded for run in runs]
    succeeded[-1] &= all_finite(outputs)
    return Trajectory(
        outputs=outputs,
        increments=jnp.stack(increments) if same else tuple(increments),
        rates=jnp.stack(rates),
        recordings=recordings,
        saved=tuple(run.saved for run in runs),
        succeeded=jnp.stack(succeeded),
        grid=grid,
    )


def _unfolded(tree: PyTree) -> PyTree:
    # Whole numbers need no barrier, and behind one they would look differentiated to diffrax's adjoint.
    def may_round(leaf):
        return eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jnp.integer)

    arrays, rest = eqx.partition(tree, may_round)
    return eqx.combine(jax.lax.optimization_barrier(arrays), rest)


def _cast(leaf: Array, dtype) -> Array:
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _checked(network, increments, grid, dynamics, key, record):
    if not isinstance(network, Network):
        raise ValueError(
            f"network must be a ratelike.Network, got {validation.shown(network)}"
        )
    if not isinstance(grid, TimeGrid):
        raise ValueError(
            f"grid must be a ratelike.TimeGrid, got {validation.shown(grid)}"
        )
    if not isinstance(dynamics, AbstractDynamics):
        raise ValueError(
            f"dynamics must be an instance such as ratelike.GeneralisedRate(), got {validation.shown(dynamics)}"
        )
    if dynamics.needs_key or key is not None:
        key = validation.typed_key("key", key)
    validation.finite_leaves("network", network)
    check_layers(network, grid, [dynamics])
    first = network.layers[0]
    path = _checked_path(increments, grid, first.num_latents, first.dtype)
    chosen = _checked_record(network, record)
    warn_of_input(network, path, grid)
    return path, key, chosen


def check_layers(
    network: Network, grid: TimeGrid, dynamics: Sequence[AbstractDynamics]
) -> None:
    """Every layer can be run on the grid, under each of the dynamics."""
    for index, layer in enumerate(network.layers):
        name = f"network.layers[{index}]"
        check_neuron(f"{name}.neuron", layer.neuron, layer.num_neurons)
        check_feedback(f"{name}.feedback", layer.feedback, grid.dt)
        for each in dynamics:
            each.check(name, layer, grid)
            if each.needs_key:
                check_population(name, layer, "spikes")


def _checked_path(drive, grid, num_latents, dtype) -> diffrax.AbstractPath[Any]:
    path = as_path(drive, grid, num_latents, dtype)
    if isinstance(path, GridPath):
        own = path.grid
        same_step = math.isclose(own.dt, grid.dt, rel_tol=1e-9)
        if not same_step or own.num_steps != grid.num_steps:
            raise ValueError(
                f"the GridPath given as increments must be made for the grid of {grid.num_steps} steps of {grid.dt:g} s, "
                f"got one for {own.num_steps} steps of {own.dt:g} s"
            )
        validation.shape("increments", path.values, (grid.num_steps, num_latents))
        validation.finite_leaves("increments", path.values)
        return GridPath(path.values.astype(dtype), grid)
    with jax.ensure_compile_time_eval():
        ends = path.t0, path.t1
    if validation.is_concrete(ends):
        start, end = map(float, ends)
        if start > 0.0 or end < grid.duration * (1.0 - 1e-6):
            raise ValueError(
                f"the path given as increments must cover the grid from 0 to {grid.duration:g} s, got {start:g} to {end:g} s"
            )
    validation.finite_leaves("increments", path)
    times = [jnp.asarray(time, dtype) for time in grid.times[:2]]
    shape = jax.eval_shape(path.evaluate, *times).shape
    if shape != (num_latents,):
        raise ValueError(
            f"the path given as increments must have {num_latents} latents, got values of shape {shape}"
        )
    return path


def _checked_record(network, record) -> dict[int, Integer[Array, " recorded"]]:
    chosen = {}
    record = {} if record is None else record
    validation.instance("record", record, Mapping)
    for layer, neurons in record.items():
        if not isinstance(layer, (int, np.integer)) or layer not in range(
            network.depth
        ):
            raise ValueError(
                f"record must name layers from 0 to {network.depth - 1}, got {validation.shown(layer)}"
            )
        indices = np.atleast_1d(np.asarray(neurons))
        size = network.layers[layer].num_neurons
        whole = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
        if not whole or np.any(indices < 0) or np.any(indices >= size):
            raise ValueError(
                f"record[{layer}] must list neurons from 0 to {size - 1}, got {validation.shown(neurons)}"
            )
        chosen[layer] = jnp.asarray(indices, dtype=jnp.int32)
    return chosen
