"""Branches of stationary states over a parameter."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Bool, Float

from ratelike import _validation as validation
from ratelike._analysis._bifurcations import Bifurcation, bifurcations_of
from ratelike._analysis._fixed_point import FixedPoint, checked
from ratelike._analysis._self_consistency import loop_sizes, settled
from ratelike._analysis._stability import Stability, stability
from ratelike._analysis._stationary import stationary_state
from ratelike._dynamics._base import AbstractDynamics
from ratelike._network import AbstractLayer, Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._casting import cast_to
from ratelike._types import Numbers

MakeNetwork = Callable[[Any], Network | AbstractLayer]

MAX_STEPS = 20
# A step is halved if the branch turns by more (the cosine), and given up at this part of the first one.
STRAIGHT, SHORTEST = 0.95, 1e-4
LONGER = 1.4


class Branch(eqx.Module):
    """Stationary states along a branch, in the order in which they were found."""

    values: Float[np.ndarray, " points"]  # of the parameter
    states: tuple[FixedPoint, ...]
    stabilities: tuple[Stability, ...]
    bifurcations: tuple[Bifurcation, ...]

    @property
    def is_stable(self) -> Bool[np.ndarray, " points"]:
        return np.asarray([each.is_stable for each in self.stabilities])

    @property
    def feedback(self) -> Float[np.ndarray, "points loops"]:
        return np.stack([np.asarray(each.feedback) for each in self.states])

    @property
    def rates(self) -> Float[np.ndarray, "points layers"]:
        """Mean over neurons, in hertz."""
        return np.asarray(
            [[float(jnp.mean(r)) for r in each.rates] for each in self.states]
        )


@broadcasts
def continuation(
    make_network: MakeNetwork,
    values: Numbers,
    *,
    dt: float,
    input: Numbers = (),
    start: Numbers | FixedPoint | None = None,
    dynamics: AbstractDynamics | None = None,
    max_points: int = 200,
) -> Branch:
    r"""The branch of stationary states of `make_network(value)` that begins near `start` at values[0], with their stability.

    Pseudo-arclength: a point is the solution of y = F(y, value) and t (u - u_0) = s on the line through the last point u_0
    along the tangent t of the branch, u = (y, value), so that the branch is followed through folds, where the value turns
    back. It ends where the value leaves the range of `values`, or after `max_points`. The first step is that from values[0]
    to values[1] (or shorter, where the branch is steep); further ones grow and shrink with how straight it is.
    `make_network` is traced, so that what depends on the value must not set a shape (a delay does).

    `bifurcations` are those between points where the number of growing modes changes: "saddle-node" where the branch
    folds, "branch point" where a real mode passes z = 1 elsewhere, "flip" (z = -1) or "Hopf"; values are interpolated.

        def make_network(gain):
            return rl.Layer(neuron, None, decoder, 1.0, rl.Feedback(gain * encoder, decoder))

        branch = rl.analysis.continuation(make_network, jnp.linspace(0.0, 4.0, 41), dt=1e-3)
        rl.plot.bifurcation(branch)

    Keller, in Applications of Bifurcation Theory (1977), for the method.

    Raises `ValueError` for fewer than two values and for networks without feedback, and `RuntimeError` where no state is
    found to begin with.
    """
    validation.function("make_network", make_network, "the value of a parameter")
    values = np.asarray(validation.parameter("values", values), float)
    validation.shape("values", values, ("points",))
    if len(values) < 2 or values[0] == values[-1]:
        raise ValueError(
            f"values must be at least two, from one end of the range to the other, got {validation.shown(values)}"
        )
    max_points = validation.count("max_points", max_points)
    first = stationary_state(make_network(values[0]), input, dt=dt, start=start)
    follow = _Follower(make_network, first, values, dt)
    path = follow.path(first, max_points)
    states = [first]
    for value, feedback in path:
        network = make_network(value)
        states.append(stationary_state(network, input, dt=dt, start=feedback))
    points = np.asarray([values[0], *(value for value, _ in path)])
    stabilities = [
        stability(make_network(value), at=state, dynamics=dynamics)
        for value, state in zip(points, states, strict=True)
    ]
    found = bifurcations_of(points, states, stabilities)
    return Branch(points, tuple(states), tuple(stabilities), found)


class _Follower:
    """The equations of a branch, compiled once; the parameter is scaled by its range."""

    def __init__(
        self,
        make_network: MakeNetwork,
        first: FixedPoint,
        values: Float[np.ndarray, " points"],
        dt: float,
    ) -> None:
        self.origin, self.span = values[0], values[-1] - values[0]
        self.first_step = abs((values[1] - values[0]) / self.span)
        signal = first.input

        def excess(point: Array) -> Array:
            value = self.origin + self.span * point[-1]
            network, _ = checked(make_network(value), dt)
            # What the caller's function closes over are constants, which XLA would fold, neuron by neuron and age by age.
            network = jax.lax.optimization_barrier(cast_to(network, point.dtype))
            if sum(loop_sizes(network)) != len(point) - 1:
                raise ValueError(
                    "make_network must return networks of the same feedback at each value"
                )
            return point[:-1] - settled(network, signal, point[:-1], dt).returned

        def tangent(point: Array, before: Array) -> Array:
            slopes = jax.jacfwd(excess)(point)
            along = jnp.linalg.svd(slopes, full_matrices=True)[2][-1]
            return jnp.where(jnp.dot(along, before) < 0.0, -along, along)

        def advance(
            point: Array, along: Array, step: Array
        ) -> tuple[Array, Array, Array]:
            guess = point + step * along

            def equations(new: Array, _: None) -> Array:
                plane = jnp.dot(along, new - guess)
                return jnp.concatenate([excess(new), plane[None]])

            precision = 1e3 * float(jnp.finfo(point.dtype).eps)
            solver = optx.Newton(precision, precision)
            solution = optx.root_find(
                equations, solver, guess, max_steps=MAX_STEPS, throw=False
            )
            new = solution.value
            after = tangent(new, along)
            return new, after, solution.result == optx.RESULTS.successful

        self.tangent, self.advance = jax.jit(tangent), jax.jit(advance)

    def path(
        self, first: FixedPoint, max_points: int
    ) -> list[tuple[float, Float[np.ndarray, " loops"]]]:
        """Values and latents after the first ones."""
        point = jnp.append(first.feedback, jnp.zeros(1, first.feedback.dtype))
        along = self.tangent(point, jnp.zeros_like(point).at[-1].set(1.0))
        step, found = self.first_step, []
        while len(found) < max_points - 1:
            new, after, succeeded = self.advance(
                point, along, jnp.asarray(step, point.dtype)
            )
            straight = float(jnp.dot(along, after))
            if not bool(succeeded) or not straight > STRAIGHT:
                step *= 0.5
                if step < SHORTEST * self.first_step:
                    break
                continue
            if not -1e-9 <= float(new[-1]) <= 1.0 + 1e-9:
                break
            point, along = new, after
            step = min(LONGER * step, 4.0 * self.first_step)
            found.append(
                (self.origin + self.span * float(new[-1]), np.asarray(new[:-1]))
            )
        return found
