"""Gradient descent on any loss of a network."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ratelike import _validation as validation
from ratelike._io._atomic import remove_leftovers
from ratelike._network import Network
from ratelike._training import _checkpoint as checkpoints
from ratelike._training._choice import Where, choose
from ratelike._training._descent import (
    Descent,
    Loss,
    State,
    descend,
    descend_in_one,
    initial_state,
)
from ratelike._training._trained import Trained

if TYPE_CHECKING:
    import optax


class Fit(NamedTuple):
    """What a fit returns: `network, history = fit(...)`."""

    network: Network
    history: Float[np.ndarray, " steps"]  # the loss before each step


class FitError(RuntimeError):
    """The loss or its gradient was not finite in step `step`.

    `network` is the last one at which both were finite (None if there was none), `history` the losses up to it.
    """

    step: int
    network: Network | None
    history: Float[np.ndarray, " steps"]

    def __init__(
        self,
        message: str,
        step: int,
        network: Network | None,
        history: Float[np.ndarray, " steps"],
    ) -> None:
        Exception.__init__(self, message)
        self.step, self.network, self.history = step, network, history

    def __reduce__(self) -> tuple[type, tuple[Any, ...], dict[str, Any]]:
        # By default an exception is made again from `args` alone, the message, which would not do for this one: it
        # could not come back from another process.
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
    batch_size: int = 1,
    checkpoint: str | Path | None = None,
    every: int = 100,
    progress: Callable[[Iterable[Any]], Iterable[Any]] | None = None,
) -> Fit:
    r"""Minimises `loss(network, key)` by gradient descent over the arrays that `where` chooses.

    `loss` returns a scalar; step n calls it with `fold_in(key, n)`, for a drive or spikes of its own (a loss that draws
    nothing ignores it). With `batch_size` > 1 (a minibatch) it is the mean over so many keys, `split(fold_in(key, n),
    batch_size)`: on a processor these are shared out among threads, one for each core, and how many cores there are
    changes no bit. `where(network)` returns the arrays to train, in any structure:

        where=lambda network: [layer.encoder for layer in network.layers]
        where=lambda network: [network.layers[0].bias, rl.train.Positive(network.layers[0].neuron.tau_m)]

    Encoders, decoders and biases may take any value. Constants of neurons come with their domain, such as `Positive` or
    `Unconstrained`, and keep to it in every step: of a `Positive` one the optimiser moves the logarithm. Connections may
    have one, too: signs that are kept, fixed entries, an interval, a sum (`ratelike.train` has them all). Layers that
    share a neuron at the start are trained apart.

        where=lambda network: rl.train.SignKept(network.layers[0].decoder)  # Dale's law
        where=lambda network: rl.train.Part(network.layers[0].bias, slice(0, 80))  # of the first neurons

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
    validation.function("loss", loss, "a network and a key")
    if not (hasattr(optimiser, "init") and hasattr(optimiser, "update")):
        raise ValueError(
            f"optimiser must be an optax.GradientTransformation, got {optimiser!r}"
        )
    num_steps = validation.count("num_steps", num_steps, at_least=0)
    every = validation.count("every", every)
    batch_size = validation.count("batch_size", batch_size)
    key = validation.typed_key("key", key)
    if progress is not None:
        validation.function("progress", progress, "an iterable")
    descent = Descent(choose(network, where), loss, optimiser, key, batch_size)
    value = jax.eval_shape(lambda k: loss(network, k), key)
    validation.shape("the value of loss", value, ())
    state, history = initial_state(descent), np.zeros(0, value.dtype)
    file, mark = None, ""
    if checkpoint is not None:
        file = checkpoints.file_at(checkpoint)
        mark = _fingerprint(descent, state)
        state, history = _resumed(file, mark, state, history, num_steps)
        remove_leftovers(file)
    steps = range(len(history), num_steps)
    losses, finite = [], []
    for step in steps if progress is None else progress(steps):
        state, value, is_finite = descend(descent, state, jnp.asarray(step, jnp.int32))
        losses.append(value)
        finite.append(is_finite)
        if len(losses) == every or step == num_steps - 1:
            history = _extended(history, losses, finite, descent.trained, state)
            losses, finite = [], []
            if file is not None:
                checkpoints.save(file, mark, len(history), (state, history))
    return Fit(descent.trained.network_at(state.x), history)


def _fingerprint(descent: Descent, state: State) -> str:
    """A digest of all that determines the steps."""
    first = jnp.zeros((), jnp.int32)
    program = cast(Any, descend_in_one).lower(descent, state, first).as_text()
    return checkpoints.fingerprint(program, descent)


def _resumed(
    file: Path,
    mark: str,
    state: State,
    history: Float[np.ndarray, " steps"],
    num_steps: int,
) -> tuple[State, Float[np.ndarray, " more_steps"]]:
    """State and history as the file holds them, or unchanged where there is no file yet."""
    if not file.exists():
        return state, history
    saved = checkpoints.read(file, mark)
    if saved.step > num_steps:
        raise ValueError(
            f"num_steps must be at least the {saved.step} steps that {file} holds, got {num_steps}"
        )
    return saved.restore((state, np.zeros(saved.step, history.dtype)))


def _extended(
    history: Float[np.ndarray, " steps"],
    losses: list[Float[Array, ""]],
    finite: list[Bool[Array, " leaves"]],
    trained: Trained,
    state: State,
) -> Float[np.ndarray, " more_steps"]:
    """The history with the losses, after waiting for them. Raises `FitError` unless all of them were finite."""
    values = np.asarray(jax.device_get(losses), history.dtype)
    good = np.asarray(jax.device_get(finite))
    if good.all():
        return np.concatenate([history, values])
    first = int(np.argmin(good.all(axis=1)))
    step = len(history) + first
    history = np.concatenate([history, values[:first]])
    names = ["the loss", *(f"its gradient in {name}" for name in trained.names)]
    which = [name for name, ok in zip(names, good[first], strict=True) if not ok]
    message = (
        f"step {step}: not finite: {', '.join(which)} (the loss was {values[first]:g})"
    )
    if step == 0:
        raise FitError(message, step, None, history)
    message += f"; the network of step {step - 1} is in this error's `network`"
    raise FitError(message, step, trained.network_at(state.good), history)
