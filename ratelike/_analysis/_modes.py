"""Modes of a layer: zeros of its characteristic function, by Newton's method."""

from typing import Any

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


def complex_of(layer: Layer) -> np.dtype:
    """The type of exponents in the layer's precision."""
    return np.result_type(layer.dtype, np.complex64)


def kind_of(angle: float, dtype: np.dtype) -> str:
    """What a mode of this angle per step does where it begins to grow; in single precision a real one may be off the axis by more."""
    same = SAME[np.dtype(dtype)]
    if angle < same:
        return "saddle-node"
    return "flip" if abs(angle - np.pi) < same else "Hopf"


def num_beyond(modes: list[complex]) -> int:
    """Of growing ones, each with its conjugate."""
    return sum(1 if one.imag in (0.0, np.pi) else 2 for one in modes if one.real > 0.0)


def modes_of_layer(
    layer: Layer,
    potential: Float[Array, " neurons"],
    turns: Winding,
    dt: float,
    is_static: bool,
) -> list[complex]:
    """Distinct zeros, those in the upper half plane: at least as many as grow, if all of these are found."""
    dtype = complex_of(layer)
    same = SAME[dtype]
    guesses: Any = turns.guesses()
    guesses = guesses[np.abs(guesses.real) < FARTHEST]
    # From a point on the axis Newton's method stays there.
    guesses = np.where(np.abs(guesses.imag) < 10.0 * same, guesses.real, guesses)
    modes: list[complex] = []
    for begin in range(0, max(len(guesses), 1), GUESSES):
        some = np.resize(guesses[begin : begin + GUESSES], GUESSES)
        found, succeeded = _zeros(
            layer, potential, jnp.asarray(some, dtype), dt, is_static
        )
        chosen = np.asarray(found)[np.asarray(succeeded)]
        modes = _with_new(modes, [complex(one) for one in chosen], same)
        if num_beyond(modes) >= turns.num_outside:
            break
    return modes


def _with_new(modes: list[complex], found: list[complex], same: float) -> list[complex]:
    """Of those found, each once; real ones exactly so."""
    modes = list(modes)
    for one in found:
        angle = abs(float(np.angle(np.exp(1j * one.imag))))
        angle = 0.0 if angle < same else np.pi if np.pi - angle < same else angle
        mode = complex(one.real, angle)
        is_new = all(abs(mode - other) > 10.0 * same for other in modes)
        if is_new and abs(mode.real) < FARTHEST:
            modes.append(mode)
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
