"""The derivative of a block of steps as two scans in which every neuron goes its own way: the form for a GPU.

The block is solved once more, and what each step begins with is kept; then the derivative of one step, of which JAX makes
the kernel's body, runs from the last to the first.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from ratelike._density._bin_layout import BinLayout, layout_of
from ratelike._density._column_block import column_scan
from ratelike._density._column_step import (
    Aged,
    Row,
    Shared,
    one_step,
    shared_in_steps,
)
from ratelike._density._density_block import BlockDerivatives, Cohorts, DensityBlock
from ratelike._density._firing import AgeRatio, sum_over_ages
from ratelike._types import PyTree


class _Given(NamedTuple):
    """What the derivative of a step takes from outside."""

    exponent: Row
    activity_bar: Row
    before: Aged


def block_derivatives_in_columns(
    block: DensityBlock, by_ages: bool
) -> BlockDerivatives | None:
    """None where there is no kernel; by factors of age only if they are wanted."""
    layout = layout_of(len(block.before.mass))
    if layout is None:
        return None
    merges = block.schedule.merge(block.steps + 1, block.exponent.dtype)
    shared = shared_in_steps(block.age_ratio, merges, block.schedule.dead, layout)
    start, normalised_vjp = jax.vjp(_normalised, block.before)
    start, after_bar = _aged(start).filled(layout), _aged(block.after_bar)

    def forward(
        constants: None, aged: Aged, shared: Shared, exponent: Row
    ) -> tuple[Aged, tuple[Row, Aged], None]:
        after, activity = one_step(aged, exponent, shared, layout)
        return after, (activity, aged), None

    def backward(
        constants: None, after_bar: Aged, shared: Shared, given: _Given
    ) -> tuple[Aged, Row, Any]:
        return _step_vjp(after_bar, shared, given, layout, by_ages)

    solve = column_scan(forward, layout)
    if not solve.has_kernel(None, start, shared, block.exponent):
        return None
    _, (activity, before), _ = solve(None, start, shared, block.exponent)
    given = _Given(block.exponent, block.activity_bar, before)
    differentiate = column_scan(backward, layout, is_reversed=True)
    start_bar, exponent_bar, ratio_bar = differentiate(
        None, after_bar.filled(layout), shared, given
    )
    start_bar = jax.tree.map(lambda x, y: x[: len(y)], start_bar, _aged(block.before))
    (before_bar,) = normalised_vjp(_cohorts(start_bar, block.before))
    ratio_bar = _ratio_bar(ratio_bar, block.age_ratio)
    return BlockDerivatives(activity, exponent_bar, ratio_bar, before_bar)


def _step_vjp(
    after_bar: Aged, shared: Shared, given: _Given, layout: BinLayout, by_ages: bool
) -> tuple[Aged, Row, Any]:
    factors = shared.ratio, shared.increase, shared.bound

    def step(aged: Aged, exponent: Row, factors: PyTree) -> tuple[Aged, Row]:
        ratio, increase, bound = factors
        here = shared._replace(ratio=ratio, increase=increase, bound=bound)
        return one_step(aged, exponent, here, layout)

    bars = after_bar, given.activity_bar
    if by_ages:
        _, vjp = jax.vjp(step, given.before, given.exponent, factors)
        return vjp(bars)
    _, vjp = jax.vjp(lambda x, y: step(x, y, factors), given.before, given.exponent)
    aged_bar, exponent_bar = vjp(bars)
    return aged_bar, exponent_bar, None


def _ratio_bar(sums: PyTree | None, ratio: AgeRatio) -> AgeRatio:
    """The derivatives by the factors of age, of which `largest` only chooses a way to compute."""
    zeros = jax.tree.map(jnp.zeros_like, ratio)
    if sums is None:
        return zeros
    at_lower, increase, bound = sums
    bins = ratio.at_lower.shape[-1]
    increase = None if increase is None else increase[:, :bins]
    return eqx.tree_at(
        lambda r: (r.at_lower, r.increase, r.bound),
        zeros,
        (at_lower[:, :bins], increase, bound),
        is_leaf=lambda leaf: leaf is None,
    )


def _normalised(before: Cohorts) -> Cohorts:
    total = sum_over_ages(before.mass)
    if len(before.waiting):
        total = total + sum_over_ages(before.waiting)
    return Cohorts(before.mass / total, before.upper_fraction, before.waiting / total)


def _aged(cohorts: Cohorts) -> Aged:
    waiting = cohorts.waiting if len(cohorts.waiting) else None
    return Aged(cohorts.mass, cohorts.upper_fraction, waiting)


def _cohorts(aged: Aged, like: Cohorts) -> Cohorts:
    waiting = like.waiting if aged.queue is None else aged.queue
    return Cohorts(aged.mass, aged.upper_fraction, waiting)
