"""The derivative of one block of steps: from the state after it, and from what it decodes, to all that it depends on."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from ratelike._density import _adjoint as exact
from ratelike._density import _graded_adjoint as graded
from ratelike._density._column_adjoint import block_derivatives_in_columns
from ratelike._density._density_block import BlockDerivatives, Cohorts, DensityBlock
from ratelike._density._firing import AgeRatio
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._renewal_term import (
    acting_in_steps,
    age_ratio,
)
from ratelike._numerics import _platform as platform
from ratelike._population._population import Decoded, Population
from ratelike._signal._membrane import potentials_at_ends


class Ends(eqx.Module):
    """What one block of steps hands on to the next."""

    potential: Float[Array, "*blocks neurons"]
    cohorts: Cohorts


class Block(eqx.Module):
    first: Integer[Array, ""]  # number of its first step
    path: Float[Array, "block *tiles latents"]
    before: Ends
    after: Ends


def block_vjp(
    constants: RenewalProblem,
    block: Block,
    decoded_bar: Decoded,
    after_bar: Ends,
    by_ages: bool,
) -> tuple[RenewalProblem, Float[Array, "block *tiles latents"], Ends]:
    """The derivatives by the constants of the problem, the path and the state before the block."""
    steps = block.first + jnp.arange(len(block.path), dtype=jnp.int32)
    exponents, exponents_vjp = jax.vjp(
        functools.partial(_exponents, steps),
        constants,
        block.path,
        block.before.potential,
    )
    exponent, ratio, _ = exponents
    population = constants.population

    def readout(decoder: Array, activity: Array) -> Decoded:
        return eqx.tree_at(_decoder, population, decoder).decode(activity)

    # What is decoded is linear in the activity: its derivative is the same everywhere.
    anywhere = jnp.zeros_like(exponent)
    _, linear = jax.vjp(functools.partial(readout, population.decoder), anywhere)
    (activity_bar,) = linear(decoded_bar)
    derivatives = _derivatives(
        DensityBlock(
            schedule=constants.schedule,
            steps=steps,
            exponent=exponent,
            age_ratio=ratio,
            before=block.before.cohorts,
            after=block.after.cohorts,
            activity_bar=activity_bar,
            after_bar=after_bar.cohorts,
        ),
        by_ages,
    )
    constants_bar, path_bar, potential_bar = exponents_vjp(
        (derivatives.by_exponent, derivatives.by_age_ratio, after_bar.potential)
    )
    _, linear = jax.vjp(
        lambda decoder: readout(decoder, derivatives.activity), population.decoder
    )
    (decoder_bar,) = linear(decoded_bar)
    constants_bar = eqx.tree_at(
        lambda p: p.population.decoder, constants_bar, decoder_bar
    )
    return constants_bar, path_bar, Ends(potential_bar, derivatives.by_before)


def _derivatives(block: DensityBlock, by_ages: bool) -> BlockDerivatives:
    if platform.has_gpu():
        found = block_derivatives_in_columns(block, by_ages)
        if found is not None:
            return found
    if block.schedule.num_levels == 1:
        return exact.block_derivatives(block)
    return graded.block_derivatives(block, by_ages)


def _decoder(population: Population) -> Any:  # a placeholder in `tree_at`
    return population.decoder


def _exponents(
    steps: Integer[Array, " block"],
    constants: RenewalProblem,
    path: Float[Array, "block *tiles latents"],
    potential: Float[Array, " neurons"],
) -> tuple[Array, AgeRatio, Array]:
    """The factors of x_k = dt f(hs) ratio_k in each step, of neurons and of ages, and the potential after the last step."""
    population, dt = constants.population, constants.dt
    currents = population.currents(path)
    ends = potentials_at_ends(
        population.bias, potential, currents, population.neuron.tau_m, dt
    )
    ages = constants.schedule.ages(steps, potential.dtype)
    ratio = age_ratio(constants, ages)
    assert ratio is not None
    return dt * acting_in_steps(population.neuron, ends), ratio, ends[-1]
