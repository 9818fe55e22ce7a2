"""The verb: run a network on a grid under a dynamics."""

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
from ratelike._dynamics._finite import all_finite, not_finite_error
from ratelike._dynamics._run_layer import LayerRun
from ratelike._dynamics._run_layers import run_layers
from ratelike._inputs import checked_inputs
from ratelike._network import Layer, Network
from ratelike._network._parts import Parts, ranges
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
from ratelike._population._sums import Workers
from ratelike._signal._drive import Input
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import membrane_traces
from ratelike._types import PyTree


class Trajectory(eqx.Module):
    """What a simulation returns; index n is the step from t_n to t_{n+1}.

    `outputs[n]` is read at the end of the step, at `times[n]` = t_{n+1}; `increments[n]`, `rates[n]` and the entries of
    `recordings` belong to the step as a whole, and are drawn at its middle.

    `increments` is stacked over layers; where layers hand on different numbers of latents, it is a tuple of arrays.
    `population_rates[layer]` has the mean rates of its named populations (`Layer.populations`). `recordings` maps a layer's index to the `Recording` of its chosen neurons. `saved` holds, for each layer, what
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
    population_rates: tuple[dict[str, Float[Array, " time"]], ...] = ()  # Hz
    parts: tuple[Parts, ...] = eqx.field(static=True, default=())

    @property
    def populations(self) -> tuple[dict[str, range], ...]:
        """For each layer the numbers of the neurons of its named populations."""
        return tuple(map(ranges, self.parts))

    def recorded(self, population: str, layer: int = 0) -> Recording:
        """Of the recorded neurons of a layer, those of a named population.

        Raises `ValueError` for a layer that was not recorded, or that has no population of that name.
        """
        if layer not in self.recordings:
            raise ValueError(
                f"layer must be one of the recorded ones, {sorted(self.recordings)}, got {layer}"
            )
        members = self.populations[layer] if self.parts else {}
        if population not in members:
            raise ValueError(
                f"population must be one of those of layer {layer}, {list(members)}, got {population!r}"
            )
        recording = self.recordings[layer]
        # Of a batch all have the same.
        neurons = np.asarray(recording.neurons)
        first = neurons.reshape(-1, neurons.shape[-1])[0]
        own = np.flatnonzero(np.isin(first, list(members[population])))
        return jax.tree.map(lambda leaf: leaf[..., own], recording)

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
    `WienerDrive`, any diffrax path that covers the grid, or None where the first layer takes no latents. `record={layer: neurons}` keeps the potential and the
    activity of chosen neurons. `key` is for `Spiking`: layer l draws from `fold_in(key, l)`. The neurons of each layer
    are shared out among the devices of `mesh` (`jax.make_mesh`), over all its axes; without a mesh, and with all arrays on a processor, among threads, one for each of its cores. How
    many these are changes no bit of the result. Within `jit`, `vmap` or `grad` there are no threads: see `use_all_cores`.

    Everything is computed in the floating-point type of the first layer's encoder. Batch with `jax.vmap`, over `key`,
    `increments` or a network of stacked arrays.

    Raises `ValueError`, before anything compiles, for shapes and lengths that do not fit, values that are not finite,
    numbers in half precision or with a physical unit, a `GridPath` of another grid, an escape rate that is negative or
    not finite, a missing or raw key, and a dead time that is not a multiple of `grid.dt`; `RuntimeError` if a layer does
    not reach the end with finite values. Within `jax.jit` values cannot be looked at: look at `trajectory.succeeded`
    outside, which is False wherever potentials, firing probabilities or outputs were not finite.
    """
    path, key, recorded = checked_inputs(
        network, increments, grid, dynamics, key=key, record=record
    )
    if mesh is not None:
        validation.instance("mesh", mesh, jax.sharding.Mesh)
    arguments = (network, path, grid, dynamics, key, recorded)
    threads = None if mesh is not None else host_threads(arguments)
    if threads is not None:
        trajectory = _simulate(*arguments, threads)
    else:
        trajectory = _simulate_within_jit(*arguments, mesh or default_mesh())
    succeeded = trajectory.succeeded
    if validation.is_concrete(succeeded) and not bool(succeeded.all()):
        layer = int(np.argmin(np.asarray(succeeded)))
        raise not_finite_error("the simulation", f"in layer {layer}")
    return trajectory


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
    chosen: dict[int, Integer[Array, " recorded"]],
    workers: Workers,
) -> Trajectory:
    network = cast_to(network, network.layers[0].dtype)
    stages = [LayerStage(layer) for layer in network.layers]
    runs = run_layers(
        dynamics, stages, path, grid, key=key, recorded=chosen, workers=workers
    )
    parts = tuple(
        layer.parts if isinstance(layer, Layer) else () for layer in network.layers
    )
    if isinstance(workers, HostThreads):
        return call_compiled(_trajectory, runs, network.output_tau_m, grid, parts)
    return _trajectory(runs, network.output_tau_m, grid, parts)


def _trajectory(
    runs: list[LayerRun],
    output_tau_m: Float[Array, ""],
    grid: TimeGrid,
    parts: tuple[Parts, ...],
) -> Trajectory:
    increments = [run.mean.latents for run in runs]
    rates = [run.mean.spikes / grid.dt for run in runs]
    same = len({layer.shape for layer in increments}) == 1
    recordings = {
        index: run.recording
        for index, run in enumerate(runs)
        if run.recording is not None
    }
    outputs = membrane_traces(increments[-1], output_tau_m, grid.dt)
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
        population_rates=tuple(
            _rates_of_parts(run, each, grid)
            for run, each in zip(runs, parts, strict=True)
        ),
        parts=parts,
    )


def _rates_of_parts(
    run: LayerRun, parts: Parts, grid: TimeGrid
) -> dict[str, Float[Array, " time"]]:
    """Means over the neurons of each named population, of which `run` has those over all neurons."""
    total = sum(number for _, number in parts)
    counts = run.mean.spikes_of_parts
    return {
        name: counts[:, index] * (total / number) / grid.dt
        for index, (name, number) in enumerate(parts)
    }


def _unfolded(tree: PyTree) -> PyTree:
    # Whole numbers need no barrier, and behind one they would look differentiated to diffrax's adjoint.
    def may_round(leaf):
        return eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jnp.integer)

    arrays, rest = eqx.partition(tree, may_round)
    # One by one: behind one barrier for all, all would look differentiated where some are.
    return eqx.combine(jax.tree.map(jax.lax.optimization_barrier, arrays), rest)
