"""1 - exp(-x) and exp(x) at the price of a polynomial."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# (1 - exp(-y)) / y on [0, 1.1], Chebyshev interpolant of degree 6: relative error 6e-9.
_ONE_MINUS_EXP_COEFFICIENTS = (
    0.9999999962,
    -0.4999996614,
    0.1666616779,
    -0.04163896337,
    0.008259406892,
    -0.001285773566,
    0.0001238745408,
)
# exp(y) on [0, 1], Chebyshev interpolant of degree 6: relative error 4e-8.
_EXP_COEFFICIENTS = (
    1.000000038,
    0.9999963001,
    0.5000588308,
    0.1663180463,
    0.04264117125,
    0.006959556801,
    0.002307842672,
)
# Up to here the polynomial alone will do.
SMALL = 1.0
_DOUBLINGS = 4
# 1 - exp(-x) is 1 in float32 from here on; a sixteenth of it is still within the interval above.
_SATURATION = 17.4


@jax.custom_jvp
def one_minus_exp(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 - exp(-x) for x >= 0, without cancellation: relative error below 10^-6 in float32.

    In float32 a polynomial, beyond x = 1 at x / 16, then 1 - p(2y) = (1 - p(y))^2 four times: that takes a third of the
    time of `expm1` on a CPU. A doubling does not magnify a relative error. In float64 it is `expm1`.
    """
    if x.dtype != jnp.float32:
        return -jnp.expm1(-x)
    return jnp.where(x <= SMALL, _one_minus_exp(x), _by_doubling(x))


@one_minus_exp.defjvp
def _derivative(
    primals: tuple[Float[Array, "*shape"]], tangents: tuple[Float[Array, "*shape"]]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    p = one_minus_exp(*primals)
    return p, (1.0 - p) * tangents[0]


def one_minus_exp_of_small(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same, bit for bit, where 0 <= x <= `SMALL`; beyond it is wrong."""
    return _one_minus_exp(x) if x.dtype == jnp.float32 else one_minus_exp(x)


def one_minus_exp_by_doubling(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same to 4 10^-7, always by the polynomial at x / 16, which takes two thirds of the time."""
    return _by_doubling(x) if x.dtype == jnp.float32 else one_minus_exp(x)


def _by_doubling(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    p = _one_minus_exp(jnp.minimum(x, _SATURATION) * (1.0 / 2**_DOUBLINGS))
    for _ in range(_DOUBLINGS):
        # Not p (2 - p): 1 - p is exact where it matters, so that no rounding takes p above 1.
        p = p + p * (1.0 - p)
    return p


def exp_up_to_4(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(x) for 0 <= x <= 4: in float32 by a polynomial in x / 4, relative error below 10^-6."""
    if x.dtype != jnp.float32:
        return jnp.exp(x)
    return _fourth_power(_polynomial(_EXP_COEFFICIENTS, 0.25 * x))


def _fourth_power(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    square = x * x
    return square * square


def _one_minus_exp(y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return _polynomial(_ONE_MINUS_EXP_COEFFICIENTS, y) * y


def _polynomial(
    coefficients: tuple[float, ...], y: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    p = jnp.full_like(y, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        p = p * y + coefficient
    return p


@jax.custom_jvp
def one_minus_exp_by_exp(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The same where an exponential costs no more than a few products, as on a GPU: relative error below 2 10^-6."""
    if x.dtype != jnp.float32:
        return -jnp.expm1(-x)
    series = x * (1.0 - x * (1.0 / 2 - x * (1.0 / 6 - x * (1.0 / 24))))
    return jnp.where(x < 0.0625, series, 1.0 - jnp.exp(-x))


@one_minus_exp_by_exp.defjvp
def _(
    primals: tuple[Float[Array, "*shape"]], tangents: tuple[Float[Array, "*shape"]]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    p = one_minus_exp_by_exp(*primals)
    return p, (1.0 - p) * tangents[0]


def mean_decay(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """(1 - exp(-x)) / x for x >= 0, the mean of exp(-s) over 0 < s < x: 1 at 0, with its derivatives."""
    small = x < 1e-2
    y = jnp.where(small, 1.0, x)
    series = 1.0
    for divisor in (6.0, 5.0, 4.0, 3.0, 2.0):
        series = 1.0 - x * series / divisor
    return jnp.where(small, series, -jnp.expm1(-y) / y)
