"""Recurrent input: all that a population sends to itself."""

import functools
import operator

import equinox as eqx
from jaxtyping import Array, Float

from ratelike._numerics._time_blocks import Part
from ratelike._population._loop import Loop, UnderWay

# What is under way in each loop: a pytree, which goes from block to block and from run to run.
RecurrentState = tuple[UnderWay, ...]


class Recurrence(eqx.Module):
    """One loop for each `Feedback` of a layer."""

    loops: tuple[Loop, ...]

    def shortest_delay(self, dt: float) -> int:
        """In steps. No block of steps is longer, so that all that arrives within it is known at its beginning."""
        return min(loop.delay_steps(dt) for loop in self.loops)

    def initial(self, dt: float) -> RecurrentState:
        """Silence, before the first spikes."""
        return tuple(loop.initial(dt) for loop in self.loops)

    def settled(
        self,
        signal: Float[Array, " loops"],
        activity: Float[Array, " neurons"],
        dt: float,
    ) -> RecurrentState:
        """After constant activity for a long time, of which the decoders of all loops make the signal."""
        states, begin = [], 0
        for loop in self.loops:
            end = begin + loop.num_latents
            states.append(loop.settled(signal[begin:end], activity, dt))
            begin = end
        return tuple(states)

    def arriving(
        self, state: RecurrentState, num_steps: int, part: Part | None = None
    ) -> Float[Array, "block neurons"]:
        """The currents of the next steps, no more than the shortest delay; or of a `part` of them, which comes next."""
        return _sum([each.arriving(num_steps, part) for each in state])

    def after(
        self,
        state: RecurrentState,
        activity: Float[Array, "block neurons"],
        dt: float,
        part: Part | None = None,
    ) -> RecurrentState:
        """What is under way after a block of that activity, no longer than the shortest delay, or after a `part` of it."""
        both = zip(self.loops, state, strict=True)
        return tuple(loop.after(each, activity, dt, part) for loop, each in both)

    def throughout(
        self, state: RecurrentState, activity: Float[Array, "time neurons"], dt: float
    ) -> tuple[Float[Array, "time neurons"], RecurrentState]:
        """The currents that arrive in each of any number of steps, of which the activity is known, and what is left."""
        both = zip(self.loops, state, strict=True)
        runs = [loop.throughout(each, activity, dt) for loop, each in both]
        return _sum([currents for currents, _ in runs]), tuple(left for _, left in runs)


def _sum(of_loops: list[Float[Array, "time neurons"]]) -> Float[Array, "time neurons"]:
    return functools.reduce(operator.add, of_loops)
