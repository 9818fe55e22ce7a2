"""Modes of a layer: zeros of its characteristic function, by Newton's method."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Bool, Complex, Float

from ratelike._analysis._characteristic import Winding, determinants
from ratelike._network import Layer

# So many guesses at once, and so many steps: guesses are near. A mode of other parameters may be farther.
GUESSES, NEAR, STEPS = 8, 12, 30
# Exponents are the same if they differ by some of these, and a mode is real below this frequency (per step, in radians).
SAME = {np.dtype(np.complex64): 1e-4, np.dtype(np.complex128): 1e-6}
# Modes that are farther than so many e-foldings per step from the unit circle are not looked for.
FARTHEST = 1.0


def same_of(dtype: np.dtype) -> float:
    """Of single precision a real mode may be off the axis by more."""
    return SAME[np.dtype(dtype)]


def num_beyond(modes: Complex[np.ndarray, " modes"]) -> int:
    """Of growing ones, each with its conjugate."""
    return sum(1 if one.imag in (0.0, np.pi) else 2 for one in modes if one.real > 0.0)


def modes_of_layer(
    layer: Layer,
    potential: Float[Array, " neurons"],
    turns: Winding,
    dt: float,
    is_static: bool,
) -> Complex[np.ndarray, " modes"]:
    """Distinct zeros, those in the upper half plane: at least as many as grow, if all of these are found."""
    dtype = jnp.complex64 if layer.dtype == jnp.float32 else jnp.complex128
    same = same_of(dtype)
    guesses = turns.guesses()
    guesses = guesses[np.abs(guesses.real) < FARTHEST]
    # From a point on the axis Newton's method stays there.
    guesses = np.where(np.abs(guesses.imag) < 10.0 * same, guesses.real, guesses)
    modes = np.zeros(0, complex)
    for begin in range(0, max(len(guesses), 1), GUESSES):
        some = np.resize(guesses[begin : begin + GUESSES], GUESSES)
        found = _zeros(layer, potential, jnp.asarray(some, dtype), dt, is_static)
        modes = _distinct(modes, *(np.asarray(each) for each in found), same)
        if num_beyond(modes) >= turns.num_outside:
            break
    return modes


def _distinct(
    modes: Complex[np.ndarray, " modes"],
    exponents: Complex[np.ndarray, " guesses"],
    succeeded: Bool[np.ndarray, " guesses"],
    same: float,
) -> Complex[np.ndarray, " more"]:
    """With those that are new; real ones exactly so."""
    for one in exponents[succeeded]:
        angle = abs(np.angle(np.exp(1j * one.imag)))
        angle = 0.0 if angle < same else np.pi if np.pi - angle < same else angle
        mode = complex(one.real, angle)
        if abs(mode.real) < FARTHEST and not np.any(abs(modes - mode) < 100.0 * same):
            modes = np.append(modes, mode)
    return modes


@eqx.filter_jit
def _zeros(
    layer: Layer,
    potential: Float[Array, " neurons"],
    guesses: Complex[Array, " guesses"],
    dt: float,
    is_static: bool,
) -> tuple[Complex[Array, " guesses"], Bool[Array, " guesses"]]:
    return jax.vmap(
        lambda guess: zero_near(layer, potential, guess, dt, is_static, NEAR)
    )(guesses)


def zero_near(
    layer: Layer,
    potential: Float[Array, " neurons"],
    guess: Complex[Array, ""],
    dt: float,
    is_static: bool,
    max_steps: int = STEPS,
) -> tuple[Complex[Array, ""], Bool[Array, ""]]:
    """An exponent at which the determinant vanishes, and whether it does."""

    def value(parts: Array, args: tuple[Layer, Array]) -> Array:
        exponent = jax.lax.complex(parts[0], parts[1])
        zero = determinants(*args, exponent[None], dt, is_static)[0]
        return jnp.stack([zero.real, zero.imag])

    start = jnp.stack([jnp.real(guess), jnp.imag(guess)])
    precision = 100.0 * float(jnp.finfo(start.dtype).eps)
    solution = optx.root_find(
        value,
        optx.Newton(precision, precision),
        jax.lax.stop_gradient(start),
        (layer, potential),
        max_steps=max_steps,
        throw=False,
    )
    after = jnp.abs(value(solution.value, (layer, potential)))
    found = jnp.all(after < precision**0.75) & jnp.all(jnp.isfinite(solution.value))
    return jax.lax.complex(solution.value[0], solution.value[1]), found
