"""The derivative of a whole solution on the grid, block after block from its end to its beginning.

Kept of the solution are the states between the blocks: about the root of all steps.
"""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from ratelike._density._adjoint import Sweep, sweep_back
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._renewal_term import acting_in_steps, age_ratio, is_separable
from ratelike._density._state import Cohorts
from ratelike._numerics._broadcasting import broadcasts
from ratelike._population._population import Decoded, Population
from ratelike._signal._membrane import potentials_at_ends


class Ends(eqx.Module):
    """What one block of steps hands on to the next."""

    share: Float[Array, "*blocks bins neurons"]
    potential: Float[Array, "*blocks neurons"]


def ends_of(t, y: Cohorts, args: RenewalProblem) -> Ends:
    return Ends(y.share, y.potential)


# What is decoded in each block, its ends (with those of the whole) if asked for, and whether all was reached.
Solve = Callable[[RenewalProblem, bool], tuple[Decoded, Ends | None, Bool[Array, ""]]]


def is_reversible(problem: RenewalProblem) -> bool:
    """Exact ages, a hazard of two factors, no feedback; and nobody is born and grows old in one block."""
    block, schedule = problem.path.shape[1], problem.schedule
    return (
        is_separable(problem.layer.neuron)
        and schedule.num_levels == 1
        and block <= schedule.memory
        and problem.layer.recurrence is None
        and problem.recorded is None
    )


@eqx.filter_custom_vjp
def solved(problem: RenewalProblem, solve: Solve) -> tuple[Decoded, Bool[Array, ""]]:
    """The decoded activity of a reversible problem, and whether the solver reached the end.

    The solver runs as it is; only in reverse mode its own adjoint is not used.
    """
    decoded, _, reached = solve(problem, False)
    return decoded, reached


@solved.def_fwd
def _(perturbed, problem, solve):
    decoded, ends, reached = solve(problem, True)
    return (decoded, reached), ends


@solved.def_bwd
@broadcasts
def _(ends, cotangents, perturbed, problem, solve):
    decoded_bar, _ = cotangents
    if decoded_bar.columns is None:
        return jax.tree.map(lambda _: None, problem)
    constants, path = eqx.tree_at(lambda p: p.path, problem, None), problem.path
    num_blocks, steps_each = path.shape[:2]

    def one_block(carry, inputs):
        after, after_bar, constants_bar = carry
        index, path, decoded_bar = inputs
        before = jax.tree.map(lambda x: x[index], ends)
        block = _Block(index * steps_each, path, before, after)
        more, path_bar, before_bar = _block_vjp(
            constants, block, decoded_bar, after_bar
        )
        constants_bar = jax.tree.map(jnp.add, constants_bar, more)
        return (before, before_bar, constants_bar), path_bar

    last = jax.tree.map(lambda x: x[-1], ends)
    zeros = jax.tree.map(jnp.zeros_like, (last, constants))
    inputs = jnp.arange(num_blocks, dtype=jnp.int32), path, decoded_bar
    (_, start_bar, constants_bar), path_bar = jax.lax.scan(
        one_block, (last, *zeros), inputs, reverse=True
    )
    # It began with all potentials at rest.
    bias_bar = constants_bar.layer.bias + start_bar.potential
    constants_bar = eqx.tree_at(lambda p: p.layer.bias, constants_bar, bias_bar)
    return eqx.tree_at(
        lambda p: p.path, constants_bar, path_bar, is_leaf=lambda leaf: leaf is None
    )


class _Block(eqx.Module):
    first: Integer[Array, ""]  # number of its first step
    path: Float[Array, "block *tiles latents"]
    before: Ends
    after: Ends


def _block_vjp(
    constants: RenewalProblem, block: _Block, decoded_bar: Array, after_bar: Ends
) -> tuple[RenewalProblem, Array, Ends]:
    """The derivatives by the constants of the problem, the path and the state before, from those by what came of them."""
    steps = block.first + jnp.arange(len(block.path), dtype=jnp.int32)
    exponents, exponents_vjp = jax.vjp(
        functools.partial(_exponents, steps),
        constants,
        block.path,
        block.before.potential,
    )
    of_neuron, of_age, _ = exponents

    population = constants.layer

    def readout(decoder, activity):
        return eqx.tree_at(_decoder, population, decoder).decode(activity)

    # What is decoded is linear in the activity: its derivative is the same everywhere.
    anywhere = jnp.zeros_like(of_neuron)
    _, linear = jax.vjp(functools.partial(readout, population.decoder), anywhere)
    (activity_bar,) = linear(decoded_bar)
    sweep = Sweep(
        schedule=constants.schedule,
        steps=steps,
        of_neuron=of_neuron,
        of_age=of_age,
        before=block.before.share,
        after=block.after.share,
        activity_bar=activity_bar,
        after_bar=after_bar.share,
    )
    activity, (of_neuron_bar, of_age_bar, share_bar) = sweep_back(sweep)
    constants_bar, path_bar, potential_bar = exponents_vjp(
        (of_neuron_bar, of_age_bar, after_bar.potential)
    )
    _, linear = jax.vjp(lambda decoder: readout(decoder, activity), population.decoder)
    (decoder_bar,) = linear(decoded_bar)
    constants_bar = eqx.tree_at(lambda p: p.layer.decoder, constants_bar, decoder_bar)
    return constants_bar, path_bar, Ends(share_bar, potential_bar)


def _decoder(population: Population) -> Array:
    return population.decoder


def _exponents(
    steps: Integer[Array, " block"],
    constants: RenewalProblem,
    path: Float[Array, "block *tiles latents"],
    potential: Float[Array, " neurons"],
):
    """x_k = dt f(hs) times the ratio of each age: both factors in each step, and the potential after them all."""
    layer, dt = constants.layer, constants.dt
    currents = layer.currents(path)
    ends = potentials_at_ends(layer.bias, potential, currents, layer.neuron.tau_m, dt)
    ages = constants.schedule.ages(steps, potential.dtype)
    of_age = age_ratio(constants, ages)
    assert of_age is not None
    return dt * acting_in_steps(layer.neuron, ends), of_age.younger, ends[-1]
