"""Neurons on a graded age mesh that advance together, over all of time: their rate, and the variance they cause."""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density._at_rest import never_fired
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._density._renewal_term import acting_in_steps
from ratelike._fluctuations._block import Fluctuations, Readout
from ratelike._fluctuations._cohort_adjoint import SumsBar, block_derivatives
from ratelike._fluctuations._cohort_steps import AgeFactor, Columns, block_sums
from ratelike._fluctuations._cohorts import Aging, aging
from ratelike._network import Layer
from ratelike._neuron._ages import in_seconds
from ratelike._neuron._hazards import hazard_ratio, shared_factors
from ratelike._numerics._broadcasting import broadcasts
from ratelike._numerics._products import matmul
from ratelike._numerics._time_blocks import in_blocks, in_time, root_block
from ratelike._signal._grid import TimeGrid
from ratelike._signal._membrane import leak_of, potentials_at_ends


class State(NamedTuple):
    """What a block of steps changes."""

    potential: Float[Array, " neurons"]
    mass: Float[Array, "nodes neurons"]
    covariance: Float[Array, "nodes neurons"]  # of `Moments`
    variance: Float[Array, " neurons"]


class Constants(NamedTuple):
    """What no step changes."""

    layer: Layer
    readout: Readout


class Options(NamedTuple):
    """What is static."""

    schedule: MergeSchedule
    dt: float  # s


Path = Float[Array, "block latents"]
# Decoded activity and variance.
Decoded = tuple[Float[Array, "block latents_out"], Float[Array, "block columns"]]


def run_cohorts(
    layer: Layer,
    increments: Float[Array, "time latents"],
    grid: TimeGrid,
    readout: Readout,
    schedule: MergeSchedule,
) -> Fluctuations:
    """`run_block` without probes, where the hazard has two factors, of which that of age is shared.

    Reverse mode keeps the states between the blocks of steps, and those of the steps of one block.
    """
    mass, _ = never_fired(layer.neuron, layer.bias, 2 * schedule.num_bins)
    at_rest = jnp.zeros_like(layer.bias)
    state = State(layer.bias, mass, jnp.zeros_like(mass), at_rest)
    num_blocks, block = root_block(grid.num_steps)
    starts = block * jnp.arange(num_blocks, dtype=jnp.int32)
    constants, options = Constants(layer, readout), Options(schedule, grid.dt)

    def one_block(
        state: State, inputs: tuple[Path, Integer[Array, ""]]
    ) -> tuple[State, Decoded]:
        return _one_block(options, constants, state, *inputs)

    blocks = in_blocks(increments, num_blocks, block), starts
    _, outputs = jax.lax.scan(one_block, state, blocks)
    activity, variance = [in_time(x, grid.num_steps) for x in outputs]
    return Fluctuations(activity, None, variance)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _one_block(
    options: Options,
    constants: Constants,
    state: State,
    path: Path,
    start: Integer[Array, ""],
) -> tuple[State, Decoded]:
    block_aging = _aging(options, start, path)
    columns, age_factor, potential = _columns(
        options, block_aging.age, constants, state, path
    )
    sums = block_sums(columns, (age_factor, block_aging))
    after = State(potential, sums.mass, sums.covariance, sums.variance[-1])
    activity = matmul(sums.activity, constants.layer.decoder)
    # Rounding may leave a neuron that fires like a clock with slightly less than no variance.
    variance = jnp.maximum(sums.variance, 0.0)
    return after, (activity, matmul(variance, constants.readout.decoder_products))


Arguments = tuple[Constants, State, Path, Integer[Array, ""]]


def _forward(
    options: Options,
    constants: Constants,
    state: State,
    path: Path,
    start: Integer[Array, ""],
) -> tuple[tuple[State, Decoded], Arguments]:
    return _one_block(options, constants, state, path, start), (
        constants,
        state,
        path,
        start,
    )


@broadcasts
def _backward(
    options: Options, arguments: Arguments, bars: tuple[State, Decoded]
) -> tuple[Constants, State, Path, None]:
    constants, state, path, start = arguments
    block_aging = _aging(options, start, path)
    after_bar, (activity_bar, variance_bar) = bars
    (columns, age_factor, _), columns_vjp = jax.vjp(
        functools.partial(_columns, options, block_aging.age), constants, state, path
    )
    decoders = constants.layer.decoder, constants.readout.decoder_products
    sums_bar = SumsBar(
        matmul(activity_bar, decoders[0].T),
        matmul(variance_bar, decoders[1].T),
        after_bar.variance,
        after_bar.mass,
        after_bar.covariance,
    )
    found = block_derivatives((columns, sums_bar), (age_factor, block_aging))
    constants_bar, state_bar, path_bar = columns_vjp(
        (found.columns, found.age_factor[..., 0], after_bar.potential)
    )
    decoder_bar = matmul(found.activity.T, activity_bar)
    products_bar = matmul(jnp.maximum(found.variance, 0.0).T, variance_bar)
    constants_bar = eqx.tree_at(
        lambda c: (c.layer.decoder, c.readout.decoder_products),
        constants_bar,
        (decoder_bar, products_bar),
    )
    return constants_bar, state_bar, path_bar, None


_one_block.defvjp(_forward, _backward)


def _aging(options: Options, start: Integer[Array, ""], path: Path) -> Aging:
    steps = start + jnp.arange(len(path), dtype=jnp.int32)
    return aging(options.schedule, steps, path.dtype)


def _columns(
    options: Options,
    age: Float[Array, "block nodes"],
    constants: Constants,
    state: State,
    path: Path,
) -> tuple[Columns, AgeFactor, Float[Array, " neurons"]]:
    """All that the steps need of each neuron, the factor of age, and the potential at the end."""
    layer, neuron, dt = constants.layer, constants.layer.neuron, options.dt
    factors = shared_factors(neuron)
    assert factors is not None
    currents = matmul(path, layer.encoder.T)
    ends = potentials_at_ends(layer.bias, state.potential, currents, neuron.tau_m, dt)
    # The sum is 1 up to rounding errors, whatever the parameters: it has no derivative.
    total = jax.lax.stop_gradient(jnp.sum(state.mass, axis=0))
    leak = leak_of(constants.readout.tau_m, dt)
    decay, jump = [jnp.broadcast_to(x, layer.bias.shape) for x in leak]
    columns = Columns(
        dt * acting_in_steps(neuron, ends),
        decay,
        jump,
        state.mass * (1.0 / total),
        state.covariance,
        state.variance,
    )
    return (
        columns,
        hazard_ratio(neuron, factors.ratio, in_seconds(neuron, age, dt)),
        ends[-1],
    )
