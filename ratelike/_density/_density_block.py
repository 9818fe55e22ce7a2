"""What the derivative of a block of steps needs to know of it."""

import equinox as eqx
from jaxtyping import Array, Float, Integer

from ratelike._density._firing import AgeRatio
from ratelike._density._merge_schedule import MergeSchedule


class Cohorts(eqx.Module):
    """The density between two blocks, or the derivatives of L by it."""

    mass: Float[Array, "*blocks bins neurons"]
    upper_fraction: Float[Array, "*blocks bins neurons"] | None
    waiting: Float[Array, "*blocks dead neurons"]  # the refractory queue


class DensityBlock(eqx.Module):
    """All that the density depends on in a block, and the derivatives of a loss L by its activity and by the density after it.

    The exponents are dt rho = `exponent` times `age_ratio`.
    """

    schedule: MergeSchedule
    steps: Integer[Array, " block"]
    exponent: Float[Array, "block neurons"]  # dt f(hs)
    age_ratio: AgeRatio
    before: Cohorts
    after: Cohorts
    activity_bar: Float[Array, "block neurons"]
    after_bar: Cohorts


class BlockDerivatives(eqx.Module):
    """The activity of a block, and the derivatives of L."""

    activity: Float[Array, "block neurons"]
    by_exponent: Float[Array, "block neurons"]
    by_age_ratio: AgeRatio
    by_before: Cohorts
