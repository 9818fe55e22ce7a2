"""The stationary rate of the discrete renewal process of one neuron."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike._neuron._ages import in_seconds, num_ages
from ratelike._neuron._base import AbstractNeuronModel, Mark
from ratelike._neuron._hazards import firing_probability, hazard
from ratelike._numerics import _platform as platform
from ratelike._numerics._column_scan import ColumnScan

# Of the stationary rate with adaptation: 30 widths of input potential need about so many.
NEWTON_STEPS = 36
LAST_BIN_STEPS = 24
# Potentials times ages that a GPU computes at once.
AT_ONCE = 2**24


# Compiled once: the loop over ages by itself would be compiled anew in every call.
@eqx.filter_jit
def stationary_rate(
    neuron: AbstractNeuronModel, potential: Float[Array, "..."], dt: float
) -> Float[Array, "..."]:
    r"""g(h) in hertz: the rate of the discrete renewal process at constant input potential h.

    With survivors S_0 = 1, S_{k+1} = S_k (1 - p_k), and an absorbing last bin K, the mean interval is

        (1/g) = dt (S_0 + ... + S_{K-1} + S_K / p_K).

    No closed form is assumed. *Neuronal Dynamics*, section 7.5 (renewal statistics), in discrete time.

    For a neuron with adaptation the p_k depend on the traces that the rate itself has left: g solves g = F(h, g), and is
    what the generalised rate comes to at constant h.
    """
    neuron = neuron.expected
    if neuron.is_renewal:
        return _renewal_rate(neuron, potential, neuron.mark(potential), dt)

    def excess(rate):
        mark = neuron.stationary_mark(potential, rate, dt)
        return _renewal_rate(neuron, potential, mark, dt) - rate

    def with_slope(rate):
        return jax.jvp(excess, (rate,), (jnp.ones_like(rate),))

    def newton(carry, _):
        rate, low, high = carry
        value, slope = with_slope(rate)
        low, high = (
            jnp.where(value > 0.0, rate, low),
            jnp.where(value < 0.0, rate, high),
        )
        new = rate - value / slope
        inside = ((new > low) & (new < high)) | (value == 0.0)
        return (jnp.where(inside, new, 0.5 * (low + high)), low, high), None

    # The excess falls where adaptation lowers the rate. Where the hazard is steep Newton's method alone would go back and
    # forth between silence and saturation: it is kept between bounds, and halves what is between them instead.
    shape = jax.eval_shape(excess, jnp.zeros((), potential.dtype))
    silent = jnp.zeros(shape.shape, shape.dtype)
    start = silent, silent, jnp.full_like(silent, 1.0 / dt)
    (solution, _, _), _ = jax.lax.scan(newton, start, length=NEWTON_STEPS)
    # One more step, through which alone there is a derivative: that of the implicit function.
    solution = jax.lax.stop_gradient(solution)
    slope = jax.lax.stop_gradient(with_slope(solution)[1])
    return solution - excess(solution) / slope


def _renewal_rate(
    neuron: AbstractNeuronModel,
    potential: Float[Array, "..."],
    mark: Mark,
    dt: float,
) -> Float[Array, "..."]:
    """The stationary rate where `mark` is that of each spike."""
    num = num_ages(neuron, dt)
    index = jnp.arange(num, dtype=potential.dtype)

    def next_age(carry, k):
        survivor, steps = carry
        mark_then = neuron.faded(mark, (k + 1.0) * dt)
        rho = hazard(neuron, potential, in_seconds(neuron, k, dt), mark_then)
        return (survivor * jnp.exp(-dt * rho), steps + survivor), None

    oldest = in_seconds(neuron, index[-1], dt)
    if neuron.is_renewal:
        last = firing_probability(hazard(neuron, potential, oldest, mark), dt)
    else:
        incoming = neuron.faded(mark, num * dt)
        last = _last_bin(neuron, potential, oldest, incoming, dt)
    # The shape of `last`, not of the potential: parameters may differ between neurons that share it.
    carry, found = (jnp.ones_like(last), jnp.zeros_like(last)), None
    if platform.has_gpu() and num * last.size <= AT_ONCE:
        found = _at_all_ages(neuron, potential, mark, last, dt)
    elif platform.has_gpu():
        found = _in_columns(neuron, potential, mark, carry, index[:-1], dt)
    if found is None:
        found, _ = jax.lax.scan(next_age, carry, index[:-1])
    survivor, steps = found
    # g = p_K / (p_K steps + S_K) stays finite, with its gradient, where p_K underflows.
    return last / (last * steps + survivor) / dt


def _at_all_ages(
    neuron: AbstractNeuronModel,
    potential: Float[Array, "..."],
    mark: Mark,
    last: Float[Array, "..."],
    dt: float,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Survivors in the last bin, and the sum of all before: in few kernels instead of a loop of two."""
    before = num_ages(neuron, dt) - 1
    k = jnp.arange(before, dtype=last.dtype).reshape(-1, *[1] * last.ndim)
    mark_then = neuron.faded(mark, (k + 1.0) * dt)
    rho = hazard(neuron, potential, in_seconds(neuron, k, dt), mark_then)
    spent = jnp.cumsum(jnp.broadcast_to(dt * rho, (before, *last.shape)), axis=0)
    survivors = jnp.concatenate([jnp.ones_like(last)[None], jnp.exp(-spent)])
    return survivors[-1], jnp.sum(survivors[:-1], axis=0)


def _in_columns(
    neuron: AbstractNeuronModel,
    potential: Float[Array, "..."],
    mark: Mark,
    carry: tuple[Float[Array, "..."], Float[Array, "..."]],
    index: Float[Array, " ages"],
    dt: float,
) -> tuple[Float[Array, "..."], Float[Array, "..."]] | None:
    """The loop over ages as one kernel, if there is one."""
    arrays, rest = eqx.partition(neuron, eqx.is_array)
    shape = carry[0].shape

    def flat(x: Array) -> Array:
        return x if x.ndim == 0 else jnp.broadcast_to(x, shape).reshape(-1)

    def body(constants: tuple, carry: tuple, k: Array, rows: None) -> tuple:
        arrays, potential, mark = constants
        neuron = eqx.combine(arrays, rest)
        survivor, steps = carry
        mark_then = neuron.faded(mark, (k + 1.0) * dt)
        rho = hazard(neuron, potential, in_seconds(neuron, k, dt), mark_then)
        return (survivor * jnp.exp(-dt * rho), steps + survivor), None, None

    if any(x.shape not in ((), shape[-1:]) for x in jax.tree.leaves(arrays)):
        return None
    constants, carry = jax.tree.map(flat, ((arrays, potential, mark), carry))
    scan = ColumnScan(body)
    if not scan.has_kernel(constants, carry, index, None):
        return None
    (survivor, steps), _, _ = scan(constants, carry, index, None)
    return survivor.reshape(shape), steps.reshape(shape)


def _last_bin(
    neuron: AbstractNeuronModel,
    potential: Float[Array, "..."],
    age: Float[Array, ""],
    incoming: Mark,
    dt: float,
) -> Float[Array, "..."]:
    """The chance to fire in the last bin, with the mean of marks that come in and of those that have faded there."""
    # Of the neurons of the bin the part p comes in anew in each step, with the mark m: the mean mark M is
    # p m + (1 - p) M faded by a step, and p depends on it.
    factors = neuron.faded(jax.tree.map(jnp.ones_like, incoming), dt)

    def step(probability, _):
        def mean(m, factor):
            return m * probability / (1.0 - factor * (1.0 - probability))

        marks = jax.tree.map(mean, incoming, factors)
        new = firing_probability(hazard(neuron, potential, age, marks), dt)
        return 0.5 * (probability + new), None

    start = firing_probability(hazard(neuron, potential, age, incoming), dt)
    return jax.lax.scan(step, start, length=LAST_BIN_STEPS)[0]
