"""The derivative of a whole solution on the grid, block after block from its end to its beginning.

Kept of the solution are the states between the blocks: about the root of all steps.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ratelike._density._block_vjp import Block, Ends, block_vjp
from ratelike._density._density_block import Cohorts
from ratelike._density._renewal_problem import RenewalProblem
from ratelike._density._side_by_side import join_neurons, side_by_side, split_neurons
from ratelike._density._state import GridState, Scalar
from ratelike._neuron._hazards import shared_factors
from ratelike._numerics._broadcasting import broadcasts
from ratelike._population._population import Decoded
from ratelike._types import PyTree


def ends_of(t: Scalar, y: GridState, args: RenewalProblem) -> Ends:
    density = y.density
    waiting = density.mass[:0] if y.queue is None else y.queue.rows[0]
    cohorts = Cohorts(density.mass, density.upper_fraction, waiting)
    return Ends(density.potential, cohorts)


# The decoded activity of each block, the ends of all blocks if asked for, and whether the solver reached the end.
Solve = Callable[[RenewalProblem, bool], tuple[Decoded, Ends | None, Bool[Array, ""]]]


def is_reversible(problem: RenewalProblem) -> bool:
    """A hazard of two factors, no feedback; and with exact ages, no cohort passes through all of them within one block."""
    block, schedule = problem.path.shape[1], problem.schedule
    return (
        shared_factors(problem.population.neuron) is not None
        and (schedule.num_levels > 1 or block <= schedule.memory)
        and problem.population.recurrence is None
        and problem.piece is None
        and problem.recorded is None
    )


@eqx.filter_custom_vjp
def solved(
    problem: RenewalProblem, solve: Solve, at_once: int | None
) -> tuple[Decoded, Bool[Array, ""]]:
    """The decoded activity of a reversible problem, and whether the solver reached the end.

    The solver runs as it is; only in reverse mode its own adjoint is not used. Under `vmap` several inputs run together,
    `at_once` neurons or less.
    """
    decoded, _, reached = _solved(problem, solve, at_once, with_ends=False)
    return decoded, reached


@solved.def_fwd
def _(
    perturbed: PyTree, problem: RenewalProblem, solve: Solve, at_once: int | None
) -> tuple[tuple[Decoded, Bool[Array, ""]], Ends | None]:
    decoded, ends, reached = _solved(problem, solve, at_once, with_ends=True)
    return (decoded, reached), ends


@solved.def_bwd
@broadcasts
def _(
    ends: Ends,
    cotangents: tuple[Decoded | None, PyTree],
    perturbed: PyTree,
    problem: RenewalProblem,
    solve: Solve,
    at_once: int | None,
) -> PyTree:
    decoded_bar, _ = cotangents
    if decoded_bar is None or decoded_bar.columns is None:
        return jax.tree.map(lambda _: None, problem)
    by_neuron = any(jax.tree.leaves(perturbed.population.neuron))

    def split(results: RenewalProblem, copies: int) -> RenewalProblem:
        bar, population = jax.tree.map(lambda _: None, problem), results.population
        parts = [
            split_neurons(population.bias, copies),
            population.encoder,
            population.decoder,
            jnp.moveaxis(results.path, 2, 0),
        ]
        return eqx.tree_at(_without_neuron, bar, parts, is_leaf=lambda x: x is None)

    return side_by_side(
        functools.partial(_problem_bar, by_neuron),
        problem,
        (ends, decoded_bar),
        # What a parameter of all neurons does is a sum over those of one input.
        at_once=None if by_neuron else at_once,
        join=lambda rest: (
            jax.tree.map(join_neurons, rest[0]),
            _in_blocks(rest[1], 0, 2),
        ),
        split=split,
    )


def _without_neuron(problem: RenewalProblem) -> list[Any]:  # `tree_at`'s placeholders
    population = problem.population
    return [population.bias, population.encoder, population.decoder, problem.path]


def _solved(
    problem: RenewalProblem, solve: Solve, at_once: int | None, *, with_ends: bool
) -> tuple[Decoded, Ends | None, Bool[Array, ""]]:
    def split(results: PyTree, copies: int) -> PyTree:
        decoded, ends, reached = results
        ends = jax.tree.map(lambda x: split_neurons(x, copies), ends)
        return _in_blocks(decoded, 2, 0), ends, jnp.broadcast_to(reached, (copies,))

    return side_by_side(
        lambda problem, _: solve(problem, with_ends),
        problem,
        None,
        at_once=at_once,
        join=lambda rest: rest,
        split=split,
    )


def _in_blocks(decoded: Decoded, source: int, destination: int) -> Decoded:
    return jax.tree.map(lambda x: jnp.moveaxis(x, source, destination), decoded)


def _problem_bar(
    by_neuron: bool, problem: RenewalProblem, given: tuple[Ends, Decoded]
) -> RenewalProblem:
    """The derivatives by a problem, but for its neuron if they are not wanted."""
    ends, decoded_bar = given
    constants = eqx.tree_at(lambda p: p.path, problem, None)
    shape = problem.path.shape
    # As many blocks together as lie between two ends.
    num_blocks = len(ends.potential) - 1
    steps_each = shape[0] * shape[1] // num_blocks

    def together(x: Array) -> Array:
        return x.reshape(num_blocks, steps_each, *x.shape[2:])

    path, decoded_bar = jax.tree.map(together, (problem.path, decoded_bar))

    def one_block(carry: tuple, inputs: tuple) -> tuple[tuple, Array]:
        after, after_bar, constants_bar = carry
        index, path, decoded_bar = inputs
        before = jax.tree.map(lambda x: x[index], ends)
        block = Block(index * steps_each, path, before, after)
        more, path_bar, before_bar = block_vjp(
            constants, block, decoded_bar, after_bar, by_neuron
        )
        constants_bar = jax.tree.map(jnp.add, constants_bar, more)
        return (before, before_bar, constants_bar), path_bar

    last = jax.tree.map(lambda x: x[-1], ends)
    zeros = jax.tree.map(jnp.zeros_like, (last, constants))
    inputs = jnp.arange(num_blocks, dtype=jnp.int32), path, decoded_bar
    (_, start_bar, constants_bar), path_bar = jax.lax.scan(
        one_block, (last, *zeros), inputs, reverse=True
    )
    population = constants_bar.population
    # The first block begins with all potentials at rest.
    population = dataclasses.replace(
        population,
        neuron=population.neuron
        if by_neuron
        else jax.tree.map(lambda _: None, population.neuron),
        bias=population.bias + start_bar.potential,
    )
    return dataclasses.replace(
        constants_bar, population=population, path=path_bar.reshape(shape)
    )
