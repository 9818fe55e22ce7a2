"""What a simulation returns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ratelike._dynamics._finite import all_finite
from ratelike._dynamics._run_layer import LayerRun
from ratelike._dynamics._state import State
from ratelike._network._parts import Parts, ranges
from ratelike._population._output import Recording
from ratelike._population._spike_trains import SpikeTrains
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
    whose spikes were kept. `population_rates[layer]` has the mean rates of its named populations (`Layer.populations`).
    `saved` holds, for each layer, what the caller's `diffrax.SaveAt` asked for, or None, at times of its own.
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


def trajectory_of(
    runs: list[LayerRun],
    output_tau_m: Float[Array, ""],
    grid: TimeGrid,
    start: Float[Array, " latents"] | None,
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
