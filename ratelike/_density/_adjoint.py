r"""The adjoint of the renewal equation, from the end of a block of steps to its beginning.

With the exponents x_k(t) = dt rho_k(t) of all ages k, the rate r(t) = sum_k (1 - exp(-x_k(t))) P_k(t) and its part
mu(t) = dL/dr(t) in a loss L, let kappa_k(t) be by how much more L grows with a neuron that fires in the step t than with
one of age k. Then

    kappa_k(t) = exp(-x_k(t)) (kappa_{k+1}(t+1) + gain(t)),   gain(t) = mu(t) - kappa_0(t+1),   dL/dx_k(t) = P_k(t) kappa_k(t).

The shares run backwards along the characteristics, P_k(t) = exp(x_k(t)) P_{k+1}(t+1), so that they need neither be kept
nor computed again, and of the derivatives no exponential is left:

    dL/dx_k(t) = dL/dx_{k+1}(t+1) + gain(t) P_{k+1}(t+1).

Where that would magnify rounding errors, the block is solved once more instead.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from ratelike._density._firing import AgeRatio, of_all_ages, separable_firing
from ratelike._density._merge_schedule import MergeSchedule
from ratelike._density._merging import computed_before, merge
from ratelike._numerics._batch_cond import one_way_for_all
from ratelike._numerics._exponential import exp_of_few
from ratelike._numerics._products import matmul
from ratelike._signal._membrane import UNROLL

# Within these, survivors are known to 3 10^-6 in float32, and none are too few for a number.
LARGEST_EXPONENT = 4.0
LARGEST_SUM = 60.0


class Sweep(eqx.Module):
    """All that the shares of a block depend on, and how L depends on what came of them."""

    schedule: MergeSchedule
    steps: Integer[Array, " block"]
    of_neuron: Float[Array, "block neurons"]
    of_age: Float[Array, "block bins"]
    before: Float[Array, "bins neurons"]
    after: Float[Array, "bins neurons"]
    activity_bar: Float[Array, "block neurons"]
    after_bar: Float[Array, "bins neurons"]


# The activity, and the derivatives of L by `of_neuron`, `of_age` and `before`.
Swept = tuple[Array, tuple[Array, Array, Array]]


def sweep_back(sweep: Sweep) -> Swept:
    """Backwards wherever that is accurate."""
    choose = one_way_for_all(_is_well_conditioned, _backwards, _once_more)
    return choose(sweep)


def _is_well_conditioned(sweep: Sweep) -> Bool[Array, ""]:
    ratio = jnp.max(sweep.of_age)
    largest_sum = jnp.max(jnp.sum(sweep.of_neuron, axis=0))
    return (jnp.max(sweep.of_neuron) * ratio <= LARGEST_EXPONENT) & (
        largest_sum * ratio <= LARGEST_SUM
    )


def _backwards(sweep: Sweep) -> Swept:
    """By the adjoint equation. In it dL/dP_k is -kappa_k but for what all ages have in common, which has no effect."""
    start = sweep.before / of_all_ages(sweep.before)
    births = sweep.schedule.event(sweep.steps + 1, start.dtype).younger
    joining, staying = _in_last_bin(sweep, start, births)
    slots = jnp.arange(len(start), dtype=jnp.int32)[:, None]

    def one_step(carry, inputs):
        x_bar, share, kappa_of_last = carry
        of_neuron, of_age, birth, mu, joining, staying = inputs
        # The slot of the newborn held the oldest before, who have joined the last bin.
        activity = share[birth]
        gain = mu - _quotient(x_bar[birth], activity)
        kappa_of_last = kappa_of_last + gain
        rows = [activity, gain, joining, staying]
        rows += [joining * kappa_of_last, staying * kappa_of_last]
        rows = computed_before(jnp.stack(rows))
        activity, gain, joining, staying, x_bar_joining, x_bar_staying = rows
        x_bar = x_bar + gain * share
        x_bar = jnp.where(slots == len(slots) - 1, x_bar_staying, x_bar)
        x_bar = jnp.where(slots == birth, x_bar_joining, x_bar)
        share = jnp.where(slots == len(slots) - 1, staying, share)
        share = jnp.where(slots == birth, joining, share)
        share = share * exp_of_few(of_neuron * of_age[:, None])
        kappa_of_last = kappa_of_last * jnp.exp(-of_neuron * of_age[-1])
        of_neuron_bar = matmul(of_age[None], x_bar)[0]
        of_age_bar = matmul(x_bar, of_neuron[:, None])[:, 0]
        return (x_bar, share, kappa_of_last), (activity, of_neuron_bar, of_age_bar)

    inputs = (sweep.of_neuron, sweep.of_age, births, sweep.activity_bar)
    kappa = -sweep.after_bar
    (x_bar, share, _), (activity, *bars) = jax.lax.scan(
        one_step,
        (sweep.after * kappa, sweep.after, kappa[-1]),
        (*inputs, joining, staying),
        reverse=True,
    )
    return activity, (bars[0], bars[1], -_quotient(x_bar, share))


def _in_last_bin(
    sweep: Sweep, start: Float[Array, "bins neurons"], births: Integer[Array, " block"]
) -> tuple[Float[Array, "block neurons"], Float[Array, "block neurons"]]:
    """Who comes to the age of the last bin in each step, and who has survived the step in it."""
    # The exponents of those in one slot add up from the beginning of the block to their last step.
    until_then = jnp.tril(sweep.of_age[:, births].T)
    joining = start[births] * jnp.exp(-matmul(until_then, sweep.of_neuron))

    def one_step(last, inputs):
        x, joining = inputs
        staying = last * jnp.exp(-x)
        return staying + joining, staying

    x = sweep.of_neuron * sweep.of_age[:, -1:]
    _, staying = jax.lax.scan(one_step, start[-1], (x, joining), unroll=UNROLL)
    return joining, staying


def _quotient(x_bar: Array, share: Array) -> Array:
    """kappa; where nobody is, nobody comes from, and nothing depends on it."""
    anyone = share > 0.0
    return jnp.where(anyone, x_bar / jnp.where(anyone, share, 1.0), 0.0)


def _once_more(sweep: Sweep) -> Swept:
    """By solving the block, and differentiating that."""

    def solve(of_neuron, of_age, before):
        def one_step(share, inputs):
            of_neuron, of_age, event = inputs
            fired = separable_firing(share, of_neuron, AgeRatio(of_age), None)
            activity = of_all_ages(fired)
            return merge(share, fired, activity, event), activity

        events = sweep.schedule.event(sweep.steps + 1, before.dtype)
        return jax.lax.scan(
            jax.checkpoint(one_step, prevent_cse=False),
            before / of_all_ages(before),
            (of_neuron, of_age, events),
        )

    (_, activity), vjp = jax.vjp(solve, sweep.of_neuron, sweep.of_age, sweep.before)
    return activity, vjp((sweep.after_bar, sweep.activity_bar))
