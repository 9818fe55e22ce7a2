"""One step of gradient descent on a loss of a network."""

import functools
from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from ratelike._network import Network
from ratelike._population._host_threads import (
    call_compiled,
    host_threads,
    map_in_threads,
)
from ratelike._training._trained import Trained
from ratelike._types import PyTree

Loss = Callable[[Network, Array], Float[Array, ""]]


class Descent(eqx.Module):
    """What stays the same from step to step."""

    trained: Trained
    loss: Loss
    optimiser: Any  # an optax.GradientTransformation
    key: Array
    batch_size: int = eqx.field(static=True)

    def keys_of(self, step: Integer[Array, ""]) -> Array:
        """One key for each draw of the loss in this step."""
        key = jax.random.fold_in(self.key, step)
        if self.batch_size == 1:
            return key[None]
        return jax.random.split(key, self.batch_size)


class State(eqx.Module):
    """What a step changes."""

    x: list[Float[Array, "..."]]
    optimiser: PyTree
    good: list[Float[Array, "..."]]  # the last x with a finite loss and gradient
    alive: Bool[Array, ""]  # whether they were finite in all steps


def initial_state(descent: Descent) -> State:
    """The network as it was given, and the optimiser before its first step."""
    with jax.numpy_dtype_promotion("standard"):
        x = descent.trained.initial()
        return State(x, descent.optimiser.init(x), x, jnp.asarray(True))


class Slope(eqx.Module):
    """A loss and its gradient, or those of several draws side by side."""

    value: Float[Array, "*draws"]
    gradient: list[Float[Array, "..."]]


def descend(
    descent: Descent, state: State, step: Integer[Array, ""]
) -> tuple[State, Float[Array, ""], Bool[Array, " leaves"]]:
    """The state after a step, the loss before it, and whether the loss and each leaf of its gradient were finite.

    From the first step on in which one was not, the state stays as it is: the caller may look at it late.
    """
    # Programs of several devices must not run beside each other.
    alone = descent.batch_size == 1 or jax.device_count() > 1
    threads = None if alone else host_threads((descent, state))
    if threads is None:
        return descend_in_one(descent, state, step)
    keys = descent.keys_of(step)
    of_draw = eqx.Partial(_slope_of_draw, descent)
    slopes = map_in_threads(of_draw, descent.batch_size, threads, state.x, keys)
    return call_compiled(_moved_by_all, descent, state, keys, slopes)


@eqx.filter_jit
def descend_in_one(
    descent: Descent, state: State, step: Integer[Array, ""]
) -> tuple[State, Float[Array, ""], Bool[Array, " leaves"]]:
    """As `descend`, in one program: draws side by side on an accelerator, else one after the other."""
    keys = descent.keys_of(step)
    of_key = functools.partial(_slope, descent, state.x)
    if descent.batch_size == 1:
        slopes = jax.tree.map(lambda leaf: leaf[None], of_key(keys[0]))
    elif jax.default_backend() == "cpu":
        slopes = jax.lax.map(of_key, keys)
    else:
        slopes = jax.vmap(of_key)(keys)
    return _moved(descent, state, keys, slopes)


def _slope_of_draw(
    descent: Descent,
    draw: Integer[Array, ""],
    x: list[Float[Array, "..."]],
    keys: Array,
) -> Slope:
    return _slope(descent, x, keys[draw])


def _slope(descent: Descent, x: list[Float[Array, "..."]], key: Array) -> Slope:
    return Slope(*jax.value_and_grad(functools.partial(_loss_at, descent, key))(x))


def _loss_at(
    descent: Descent, key: Array, x: list[Float[Array, "..."]]
) -> Float[Array, ""]:
    return descent.loss(descent.trained.network_at(x), key)


def _moved_by_all(
    descent: Descent, state: State, keys: Array, slopes: list[Slope]
) -> tuple[State, Float[Array, ""], Bool[Array, " leaves"]]:
    together = jax.tree.map(lambda *each: jnp.stack(each), *slopes)
    return _moved(descent, state, keys, together)


def _moved(
    descent: Descent, state: State, keys: Array, slopes: Slope
) -> tuple[State, Float[Array, ""], Bool[Array, " leaves"]]:
    """The step itself, by the mean over draws."""
    import optax

    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), slopes)
    value, gradient = mean.value, mean.gradient

    def mean_loss(x: list[Float[Array, "..."]]) -> Float[Array, ""]:
        return jnp.mean(jax.lax.map(lambda key: _loss_at(descent, key, x), keys))

    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in [value, *gradient]])
    # Optimisers mix types, such as their count of steps with float32.
    with jax.numpy_dtype_promotion("standard"):
        optimiser = optax.with_extra_args_support(descent.optimiser)
        updates, optimiser_state = optimiser.update(
            gradient,
            state.optimiser,
            state.x,
            value=value,
            grad=gradient,
            value_fn=mean_loss,
        )
        x = optax.apply_updates(state.x, updates)
    alive = state.alive & finite.all()
    moved = State(cast(list, x), optimiser_state, state.x, alive)
    stayed = State(state.x, state.optimiser, state.good, alive)
    state = jax.tree.map(lambda new, old: jnp.where(alive, new, old), moved, stayed)
    return state, value, finite
