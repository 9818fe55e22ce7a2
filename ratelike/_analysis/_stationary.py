"""Stationary states of networks with feedback."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._analysis._fixed_point import FixedPoint, checked, fixed_point_of
from ratelike._analysis._layer_response import loop_weights
from ratelike._analysis._self_consistency import loop_sizes, settled
from ratelike._network import AbstractLayer, Network
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._casting import cast_to
from ratelike._types import Numbers

# How far starts move the potentials, as a root of their mean square over neurons.
SPREADS = np.array([0.0, 0.3, 1.0, 3.0, 10.0])
MAX_STEPS = 256
# States are the same if they differ by less, in parts of 1 + |y|.
SAME = 1e-3


@broadcasts
def stationary_state(
    network: Network | AbstractLayer,
    input: Numbers = (),
    *,
    dt: float,
    start: Numbers | FixedPoint | None = None,
) -> FixedPoint:
    r"""A stationary state under the constant `input` x (latents,), a signal in latents, on a grid of `dt` seconds.

    Its unknowns are the signals y that come back by all feedback of all layers, however many neurons there are:

        h_i = b_i + E_i x + E_f,i y - J_ii g_i(h_i),     y = (1/N) sum_j D_f,j g_j(h_j),

    with g the stationary rate of the discrete neuron, so that simulations confirm it at any `dt`. They are found from
    `start`, by default 0 (or, outside of `jit`, where that leads nowhere the starts of `stationary_states`), by the
    dogleg method (Newton's within a region of trust), of `optimistix`; derivatives by the parameters of the network and
    by `input` are those of the implicit function. It may be unstable: see `stability`. For neurons with adaptation g is
    that of their closure, and the state that of the closure.

        layer = rl.Layer(rl.SRM0(), None, decoder, 1.0, rl.Feedback(encoder, 0.1 * decoder))
        at = rl.analysis.stationary_state(layer, dt=1e-3)
        at.feedback, at.rates[0].mean()
        rl.simulate(network, None, grid, rl.Spiking(), key=key, initial=at.state(network))

    *Cost.* A step costs neurons times ages times latents of feedback.

    Raises `ValueError` for arguments of other shapes or not finite, and `RuntimeError` where no state is found from
    `start`; within `jit`, `vmap` and `grad` look at `succeeded`.
    """
    network, dt, signal = _checked(network, input, dt)
    size = sum(loop_sizes(network))
    is_free = start is None
    if start is None:
        start = jnp.zeros(size, signal.dtype)
    elif isinstance(start, FixedPoint):
        start = start.feedback
    if np.size(start) > 0:
        start = validation.parameter("start", start).astype(signal.dtype)
    validation.shape("start", start, (size,))
    found = _found(network, signal, jnp.asarray(start), dt)
    is_known = validation.is_concrete(found.succeeded)
    if is_known and not bool(found.succeeded):
        if is_free and size > 0:
            return _nearest(stationary_states(network, signal, dt=dt))
        raise RuntimeError(
            f"no stationary state was found from start: the residual is {float(found.residual):.2g}; try another start, or "
            "stationary_states"
        )
    return found


@broadcasts
def stationary_states(
    network: Network | AbstractLayer,
    input: Numbers = (),
    *,
    dt: float,
    starts: Numbers | None = None,
) -> tuple[FixedPoint, ...]:
    """The distinct stationary states that `stationary_state` finds from `starts` (starts, latents of feedback), all at once.

    By default from 0 and from 32 points whose potentials are up to 10 units apart, the same ones in every call. They are in
    the order of the first signal of feedback. That there are no others is not shown. `stability(network, at=state)` says of
    each whether it is stable.

    Raises as `stationary_state` does: `RuntimeError` where there is none from any start.
    """
    network, dt, signal = _checked(network, input, dt)
    size = sum(loop_sizes(network))
    points = _starts(network) if starts is None else starts
    points = validation.parameter("starts", points).astype(signal.dtype)
    validation.shape("starts", points, ("starts", size))
    found = eqx.filter_jit(jax.vmap(lambda start: _found(network, signal, start, dt)))(
        points
    )
    distinct: list[FixedPoint] = []
    for index in np.flatnonzero(np.asarray(found.succeeded)):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], found)
        if not any(_same(one, other) for other in distinct):
            distinct.append(one)
    if not distinct:
        smallest = float(jnp.min(found.residual))
        raise RuntimeError(
            f"no stationary state was found from {len(points)} starts: the smallest residual is {smallest:.2g}"
        )
    return tuple(sorted(distinct, key=lambda one: tuple(np.asarray(one.feedback))))


def _checked(
    network: Network | AbstractLayer, input: Numbers, dt: float
) -> tuple[Network, float, Float[Array, " latents"]]:
    stored, dt = checked(network, dt)
    dtype = stored.layers[0].dtype
    stored: Network = cast_to(stored, dtype)
    validation.finite_leaves("network", stored)
    signal = jnp.zeros(0, dtype)
    if np.size(input) > 0:
        signal = validation.parameter("input", input).astype(dtype)
    validation.shape("input", signal, (stored.layers[0].num_latents,))
    return stored, dt, signal


@eqx.filter_jit
def _found(
    network: Network,
    signal: Float[Array, " latents"],
    start: Float[Array, " loops"],
    dt: float,
) -> FixedPoint:
    if start.size == 0:
        return fixed_point_of(signal, start, settled(network, signal, start, dt), dt)

    # The solver's own numbers have the default type, which may be wider, and it does not mix types.
    wide = jax.dtypes.canonicalize_dtype(float)

    def excess(feedback: Array, args: tuple[Network, Array]) -> Array:
        returned = settled(*args, feedback.astype(start.dtype), dt).returned
        return feedback - returned.astype(wide)

    precision = 100.0 * float(jnp.finfo(start.dtype).eps)
    solution = optx.root_find(
        excess,
        optx.Dogleg(precision, precision),
        jax.lax.stop_gradient(start).astype(wide),
        (network, signal),
        max_steps=MAX_STEPS,
        throw=False,
    )
    feedback = solution.value.astype(start.dtype)
    return fixed_point_of(signal, feedback, settled(network, signal, feedback, dt), dt)


def _starts(network: Network) -> Float[np.ndarray, "starts loops"]:
    """Directions at random, of lengths that move the potentials of each layer by the `SPREADS`."""
    generator = np.random.default_rng(0)
    columns = []
    for layer in network.layers:
        encoder = np.asarray(loop_weights(layer)[0], float)
        points = generator.normal(size=(33, encoder.shape[1]))
        moved = np.sqrt(np.mean((points @ encoder.T) ** 2, axis=1, keepdims=True))
        spreads = np.resize(SPREADS[1:], 33)[:, None]
        spreads[0] = SPREADS[0]
        columns.append(points * spreads / np.where(moved > 0.0, moved, 1.0))
    return np.concatenate(columns, axis=1)


def _nearest(states: tuple[FixedPoint, ...]) -> FixedPoint:
    """The one with the smallest signals of feedback."""
    return min(states, key=lambda one: float(jnp.linalg.norm(one.feedback)))


def _same(one: FixedPoint, other: FixedPoint) -> bool:
    apart = jnp.abs(one.feedback - other.feedback) / (1.0 + jnp.abs(other.feedback))
    return bool(jnp.max(apart, initial=0.0) < SAME)
