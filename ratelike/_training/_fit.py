"""Gradient descent on any loss of a network."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, PyTree

from ratelike import _validation as validation
from ratelike._io._atomic import remove_leftovers
from ratelike._network import Network
from ratelike._training import _checkpoint as checkpoints
from ratelike._training._parameters import Trained, Where, choose

if TYPE_CHECKING:
    import optax

Loss = Callable[[Network, Array], Float[Array, ""]]


class Fit(NamedTuple):
    """What a fit returns: `network, history = fit(...)`."""

    network: Network
    history: np.ndarray  # (steps,) the loss before each step


class FitError(RuntimeError):
    """The loss or its gradient was not finite in step `step`.

    `network` is the last one at which both were finite (None if there was none), `history` the losses up to it.
    """

    def __init__(
        self, message: str, step: int, network: Network | None, history: np.ndarray
    ):
        Exception.__init__(self, message)
        self.step, self.network, self.history = step, network, history

    def __reduce__(self):
        # An exception is made anew from `args`, here the message alone; this one would not come back from a process.
        arguments = (*self.args, self.step, self.network, self.history)
        return type(self), arguments, vars(self)


def fit(
    network: Network,
    loss: Loss,
    *,
    where: Where,
    optimiser: "optax.GradientTransformation",
    num_steps: int,
    key: Array,
    checkpoint: str | Path | None = None,
    every: int = 100,
    progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None,
) -> Fit:
    r"""Minimises `loss(network, key)` by gradient descent over the arrays that `where` chooses.

    `loss` returns a scalar; step n calls it with `fold_in(key, n)`, for a drive or spikes of its own (a loss that draws
    nothing ignores it). `where(network)` returns the arrays to train, in any structure:

        where=lambda network: [layer.encoder for layer in network.layers]
        where=lambda network: [network.layers[0].bias, rl.Positive(network.layers[0].neuron.tau_m)]

    Encoders, decoders and biases may take any value. Constants of neurons come with their domain, `Positive` or
    `Unconstrained`, and keep to it in every step: of a `Positive` one the optimiser moves the logarithm. Layers that
    share a neuron at the start are trained apart.

    `optimiser` is from optax, line searches such as `optax.lbfgs` included. `history` is the loss before each step.

    With `checkpoint`, the state is written to that file every `every` steps and at the end, and a fit that finds the
    file goes on from it, to the same bits as an uninterrupted one; `num_steps` may have grown. One process at a time may
    write a file; what a killed one has left beside it is removed by the next. `every` is also the number of steps after
    which losses are looked at: until then the host does not wait for the device. `progress` wraps the iterable of steps
    (`tqdm.tqdm` does).

    Raises `ValueError` for arguments that make no sense, for a loss that is not a scalar, and for a checkpoint that is
    damaged or belongs to another network, loss, optimiser or key; `FitError`, which holds the last good network, when
    the loss or its gradient is not finite.
    """
    validation.instance("network", network, Network)
    validation.finite_leaves("network", network)
    if not callable(loss):
        raise ValueError(
            f"loss must be a function of a network and a key, got {loss!r}"
        )
    if not (hasattr(optimiser, "init") and hasattr(optimiser, "update")):
        raise ValueError(
            f"optimiser must be an optax.GradientTransformation, got {optimiser!r}"
        )
    num_steps = validation.count("num_steps", num_steps, at_least=0)
    every = validation.count("every", every)
    key = validation.typed_key("key", key)
    if progress is not None and not callable(progress):
        raise ValueError(
            f"progress must be a function of an iterable, got {progress!r}"
        )
    trained = choose(network, where)
    value = jax.eval_shape(lambda k: loss(network, k), key)
    validation.shape("the value of loss", value, ())

    with jax.numpy_dtype_promotion("standard"):
        x = trained.initial()
        state = _State(x, optimiser.init(x), x, jnp.asarray(True))
    history = np.zeros(0, value.dtype)
    run = _Run(trained, loss, optimiser, key)
    file, mark = None, ""
    if checkpoint is not None:
        file = checkpoints.file_at(checkpoint)
        program = cast(Any, _step).lower(run, state, jnp.zeros((), jnp.int32)).as_text()
        mark = checkpoints.fingerprint(program, run)
        if file.exists():
            saved = checkpoints.read(file, mark)
            if saved.step > num_steps:
                raise ValueError(
                    f"num_steps must be at least the {saved.step} steps that {file} holds, got {num_steps}"
                )
            like = (state, np.zeros(saved.step, value.dtype))
            state, history = saved.restore(like)
        remove_leftovers(file)
    steps = range(len(history), num_steps)
    losses, finite = [], []
    for step in steps if progress is None else progress(steps):
        state, value, is_finite = _step(run, state, jnp.asarray(step, jnp.int32))
        losses.append(value)
        finite.append(is_finite)
        if len(losses) == every or step == num_steps - 1:
            history = _look(run, state, history, losses, finite)
            losses, finite = [], []
            if file is not None:
                checkpoints.save(file, mark, len(history), (state, history))
    return Fit(trained.network_at(state.x), history)


class _Run(eqx.Module):
    """What stays the same from step to step."""

    trained: Trained
    loss: Loss
    optimiser: Any
    key: Array


class _State(eqx.Module):
    x: list[Float[Array, "..."]]
    optimiser: PyTree
    good: list[Float[Array, "..."]]  # the last x with a finite loss and gradient
    alive: Bool[Array, ""]  # whether they were finite in all steps


@eqx.filter_jit
def _step(run: _Run, state: _State, step: Integer[Array, ""]):
    """From the first step on in which anything is not finite, the state stays: it may be noticed late."""
    import optax

    key = jax.random.fold_in(run.key, step)

    def loss(x):
        return run.loss(run.trained.network_at(x), key)

    value, gradient = jax.value_and_grad(loss)(state.x)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in [value, *gradient]])
    # Optimisers mix types, such as their count of steps with float32.
    with jax.numpy_dtype_promotion("standard"):
        optimiser = optax.with_extra_args_support(run.optimiser)
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
    moved = _State(cast(list, x), optimiser_state, state.x, alive)
    stayed = _State(state.x, state.optimiser, state.good, alive)
    state = jax.tree.map(lambda new, old: jnp.where(alive, new, old), moved, stayed)
    return state, value, finite


def _look(
    run: _Run, state: _State, history: np.ndarray, losses: list, finite: list
) -> np.ndarray:
    """Waits for the losses, and appends them to the history if all is well."""
    values = np.asarray(jax.device_get(losses), history.dtype)
    good = np.asarray(jax.device_get(finite))
    if good.all():
        return np.concatenate([history, values])
    first = int(np.argmin(good.all(axis=1)))
    step = len(history) + first
    history = np.concatenate([history, values[:first]])
    names = ["the loss", *(f"its gradient in {name}" for name in run.trained.names)]
    which = [name for name, ok in zip(names, good[first], strict=True) if not ok]
    message = (
        f"step {step}: not finite: {', '.join(which)} (the loss was {values[first]:g})"
    )
    if step == 0:
        raise FitError(message, step, None, history)
    message += f"; the network of step {step - 1} is in this error's `network`"
    raise FitError(message, step, run.trained.network_at(state.good), history)
