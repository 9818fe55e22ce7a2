"""A layer with its spikes given: deterministic, and differentiable in every parameter."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, UInt

from ratelike._estimator._base import Sample
from ratelike._estimator._given_spikes import course_of, never_fired
from ratelike._population._output import LayerOutput, Recording
from ratelike._population._population import Population
from ratelike._signal._grid import TimeGrid
from ratelike._types import PyTree


class Replay(eqx.Module):
    """What led to given spikes. Nothing here is random, and all of it depends on the parameters."""

    spikes: Float[Array, "time neurons"]  # constants, 0 or 1
    potential: Float[Array, "time neurons"]  # that acts in each step
    spent: Float[Array, "time neurons"]  # dt rho: p = 1 - exp(-spent)
    succeeded: Bool[Array, ""]
    packed: UInt[Array, "time words"] | None  # the spikes in bits, if they are kept

    def layer_output(
        self,
        population: Population,
        activity: Float[Array, "time neurons"],
        recorded: Integer[Array, " recorded"] | None,
        saved: PyTree = None,
    ) -> LayerOutput:
        """The layer hands on `activity`: the spikes, with a derivative or without."""
        decoded = population.decode(activity)
        recording = None
        if recorded is not None:
            recording = Recording(
                recorded, self.potential[:, recorded], activity[:, recorded]
            )
        return LayerOutput(
            decoded, recording, saved, self.succeeded, spikes=self.packed
        )


def replay(
    sample: Sample,
    population: Population,
    increments: Float[Array, "time *tiles latents"],
    grid: TimeGrid,
) -> Replay:
    """Draws the spikes, without a derivative, and goes through them once more with one."""
    everyone = jnp.arange(population.num_neurons, dtype=jnp.int32)
    drawn = sample(*jax.lax.stop_gradient((population, increments)), everyone)
    assert drawn.recording is not None
    spikes = jax.lax.stop_gradient(drawn.recording.activity)
    start = never_fired(population, grid.dt)
    course, _ = course_of(population, start, increments, spikes, grid.dt)
    return Replay(spikes, *course, drawn.succeeded, drawn.spikes)
