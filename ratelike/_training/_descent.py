"""One step of gradient descent on a loss of a network."""

from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from ratelike._network import Network
from ratelike._training._trained import Trained
from ratelike._types import PyTree

Loss = Callable[[Network, Array], Float[Array, ""]]


class Descent(eqx.Module):
    """What stays the same from step to step."""

    trained: Trained
    loss: Loss
    optimiser: Any  # an optax.GradientTransformation
    key: Array


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


@eqx.filter_jit
def descend(
    descent: Descent, state: State, step: Integer[Array, ""]
) -> tuple[State, Float[Array, ""], Bool[Array, " leaves"]]:
    """The state after a step, the loss before it, and whether the loss and each leaf of its gradient were finite.

    From the first step on in which one was not, the state stays as it is: the caller may look at it late.
    """
    import optax

    key = jax.random.fold_in(descent.key, step)

    def loss(x: list[Float[Array, "..."]]) -> Float[Array, ""]:
        return descent.loss(descent.trained.network_at(x), key)

    value, gradient = jax.value_and_grad(loss)(state.x)
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
            value_fn=loss,
        )
        x = optax.apply_updates(state.x, updates)
    alive = state.alive & finite.all()
    moved = State(cast(list, x), optimiser_state, state.x, alive)
    stayed = State(state.x, state.optimiser, state.good, alive)
    state = jax.tree.map(lambda new, old: jnp.where(alive, new, old), moved, stayed)
    return state, value, finite
