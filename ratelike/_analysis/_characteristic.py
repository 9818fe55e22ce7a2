"""The characteristic function of the modes of a layer, and how often it winds around zero."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ratelike._analysis._grid_frequencies import over_exponents
from ratelike._analysis._layer_response import layer_response
from ratelike._network import Layer

# Angles on half of the circle to begin with, more of them near z = 1, where slow modes are.
COARSE = 128
SLOWEST = 1e-4
# The phase may turn by so much between neighbours; between those where it turns more, further angles are looked at.
LARGEST_TURN = np.pi / 4
ROUNDS, ADDED = 12, 32
# Of the rational function, which gives guesses: digits beyond those of the values cost terms, and terms times points cost time.
RTOL, MAX_TERMS, MAX_POINTS, SAME_ANGLE = 1e-8, 40, 64, 1e-7
ROUNDING = 30.0
# Zeros nearer to a pole of the rational function are of its own making: noise.
BESIDE_POLE = 1e-4


@eqx.filter_jit
def determinants(
    layer: Layer,
    potential: Float[Array, " neurons"],
    exponents: Complex[Array, " exponents"],
    dt: float,
    is_static: bool,
) -> Complex[Array, " exponents"]:
    """det(1 - loop) at z = exp(`exponents`)."""

    def one(exponent: Array) -> Array:
        return layer_response(layer, potential, exponent, dt, is_static).determinant()

    return over_exponents(one, exponents, layer.num_neurons)


class Winding(eqx.Module):
    """The characteristic function on the upper half of a circle."""

    angles: Float[np.ndarray, " angles"]
    values: Complex[np.ndarray, " angles"]
    num_outside: int  # zeros beyond the circle
    is_certain: bool  # whether the phase was followed everywhere
    precision: float  # of the values, relative

    def guesses(self) -> Complex[np.ndarray, " guesses"]:
        """Exponents of the zeros of a rational function through the values, slowest decay first: those in the upper half.

        The function is rational, so that it is known inside of the circle from its values there.
        """
        from scipy.interpolate import AAA  # slow to import

        chosen = np.linspace(0, len(self.angles) - 1, MAX_POINTS).astype(int)
        angles, values = self.angles[chosen], self.values[chosen]
        inner = (angles > 0.0) & (angles < np.pi)
        points = np.exp(1j * angles)
        points = np.concatenate([points, np.conj(points[inner])])
        values = np.concatenate([values, np.conj(values[inner])])
        rtol = max(RTOL, ROUNDING * self.precision)
        with warnings.catch_warnings():
            # Where the noise of rounding keeps it from getting nearer: these are guesses.
            warnings.simplefilter("ignore", RuntimeWarning)
            fit = AAA(points, values, rtol=rtol, max_terms=MAX_TERMS)
        zeros, poles = fit.roots(), fit.poles()
        zeros = zeros[(np.abs(zeros) > 1e-6) & np.isfinite(zeros)]
        zeros = zeros[np.log(zeros).imag > -SAME_ANGLE]
        apart = np.min(np.abs(zeros[:, None] - poles[None]), axis=1, initial=np.inf)
        # Noise comes last.
        order = np.lexsort([-np.abs(zeros), apart < BESIDE_POLE])
        return np.log(zeros[order])


def winding(
    layer: Layer,
    potential: Float[Array, " neurons"],
    dt: float,
    is_static: bool,
) -> Winding:
    """By the argument principle: the function is 1 at infinity and has its poles inside, so its turns count zeros outside."""

    def at(angles: np.ndarray) -> np.ndarray:
        exponents = jnp.asarray(1j * angles, dtype)
        values = determinants(layer, potential, exponents, dt, is_static)
        return np.asarray(values, complex)

    dtype = jax.eval_shape(lambda x: jax.lax.complex(x, x), layer.bias).dtype
    even = np.linspace(0.0, np.pi, COARSE - COARSE // 2)
    slow = np.geomspace(SLOWEST, np.pi, COARSE // 2 + 2)[:-1]
    angles = np.unique(np.concatenate([even, slow]))
    values = at(angles)
    for _ in range(ROUNDS):
        turns = np.abs(np.angle(values[1:] * np.conj(values[:-1])))
        wide = np.argsort(-turns)[:ADDED]
        if turns[wide[0]] <= LARGEST_TURN:
            break
        # A fixed number, for one program: beside the widest turns, others too.
        new = 0.5 * (angles[wide] + angles[wide + 1])
        order = np.argsort(np.concatenate([angles, new]), kind="stable")
        values = np.concatenate([values, at(new)])[order]
        angles = np.concatenate([angles, new])[order]
    turns = np.angle(values[1:] * np.conj(values[:-1]))
    # Outside lies z -> infinity, so that zeros beyond turn the phase backwards; the lower half of the circle is the mirror.
    number = np.nan_to_num(-np.sum(turns) / np.pi)
    # A NaN is no small turn.
    certain = bool(np.max(np.abs(turns)) <= 2.0 * LARGEST_TURN)
    return Winding(angles, values, round(number), certain, float(jnp.finfo(dtype).eps))
