"""Checks of static facts, made before anything is traced.

Every message names the argument, the rule and the value. Values that are being traced (inside `jax.jit`,
`jax.grad`, `jax.vmap`) cannot be looked at and pass unchecked; their shapes are still checked.
"""

from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, PyTree

from ratelike._unit_carriers import unit_of

# Characters of a value in a message.
LONGEST_SHOWN = 120
# Neurons and steps are numbered by 32-bit integers.
LARGEST_COUNT = 2**31 - 1


def shown(value: Any) -> str:
    """`value` as a message shows it: on one line, and not longer than a glance."""
    if isinstance(value, (jax.Array, np.ndarray)) and value.size > 8:
        return _describe(value)
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a caller's own class may fail in any way
        text = f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 4] + " ..."


def is_concrete(value: Any) -> bool:
    """Whether no leaf of `value` is being traced."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def parameter(
    name: str,
    value: ArrayLike | Sequence[float],
    *,
    above: float | None = None,
    at_least: float | None = None,
) -> Float[Array, "..."]:
    """`value` as a floating-point array, after checking that all of it is finite and within the bound.

    It has no unit, and at least single precision; the bound holds after rounding to the type of the array, too.
    """
    bare(name, value)
    kept = _floating(value)
    dtype = (
        jax.dtypes.canonicalize_dtype(float) if kept is None else np.dtype(kept.dtype)
    )
    if is_concrete(value):
        entries = _numbers(name, value)
        _check_entries(name, entries, above, at_least)
        with np.errstate(over="ignore", under="ignore"):
            stored = entries.astype(dtype)
        _check_entries(name, stored, above, at_least, entries, f" in {dtype}")
    else:
        for leaf in jax.tree.leaves(value):
            _check_dtype(name, jnp.result_type(leaf), value)
    if kept is not None:
        return kept
    if not is_concrete(value):
        return jnp.asarray(value, dtype=float)
    # Known also where something else is traced: a neuron that is made within jit is the one made outside.
    with jax.ensure_compile_time_eval():
        return jnp.asarray(value, dtype=float)


def signal(name: str, value: Any) -> Float[Array, "..."]:
    """A floating-point array, whose finiteness is looked at where it lives: signals may be long."""
    kept = _floating(value)
    if kept is None:
        return parameter(name, value)
    finite_leaves(name, kept)
    return kept


def _floating(value: Any) -> Array | None:
    """A JAX array that keeps its type."""
    is_array = isinstance(value, jax.Array)
    return value if is_array and jnp.issubdtype(value.dtype, jnp.floating) else None


def bare(name: str, value: Any) -> None:
    """`value` carries no unit, which would be lost."""
    unit = unit_of(value)
    if unit is not None:
        raise ValueError(
            f"{name} must be plain numbers (seconds, hertz, or units of the potential), got {unit!r} with "
            f"{shown(value)}; convert it, and pass the magnitude"
        )


def number(
    name: str,
    value: float,
    *,
    above: float | None = None,
    at_least: float | None = None,
) -> float:
    """A Python float, for parameters that set a shape and therefore have to be static."""
    bare(name, value)
    if not is_concrete(value):
        raise ValueError(
            f"{name} must be a concrete number because it sets an array's size; it is being traced"
        )
    entries = _numbers(name, value)
    if entries.ndim != 0:
        raise ValueError(f"{name} must be one number, got shape {entries.shape}")
    _check_entries(name, entries, above, at_least)
    return float(entries)


def instance(name: str, value: Any, kind: type) -> None:
    """`value` is an object of the class `kind`, and not for instance the class itself."""
    if not isinstance(value, kind):
        raise ValueError(
            f"{name} must be an instance of {kind.__name__}, got {shown(value)}"
        )


def function(name: str, value: Any, what: str) -> None:
    """`value` can be called; `what` says on which arguments."""
    if not callable(value):
        raise ValueError(f"{name} must be a function of {what}, got {shown(value)}")


def count(name: str, value: int, *, at_least: int = 1) -> int:
    """A Python int of at least `at_least`."""
    bare(name, value)
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        _check_dtype(name, value.dtype, value)
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError, jax.errors.JAXTypeError):
        raise ValueError(f"{name} must be a whole number, got {shown(value)}") from None
    if (
        isinstance(value, (bool, np.bool_, str, bytes))
        or np.ndim(value) != 0
        or not whole == value
        or whole < at_least
    ):
        raise ValueError(
            f"{name} must be a whole number of at least {at_least}, got {shown(value)}"
        )
    if whole > LARGEST_COUNT:
        raise ValueError(
            f"{name} must be a whole number of at most {LARGEST_COUNT}, got {shown(value)}"
        )
    return whole


def burn_in(value: int, num_steps: int) -> int:
    """A number of steps to leave out at the beginning, of which some remain."""
    value = count("burn_in", value, at_least=0)
    if value >= num_steps:
        raise ValueError(
            f"burn_in must be less than the number of steps, {num_steps}, got {value}"
        )
    return value


def typed_key(name: str, key: Any) -> Array:
    """Explicit typed keys only: a raw `uint32` array or a missing key is a mistake to be told early."""
    advice = "make one with jax.random.key(seed)"
    if key is None:
        raise ValueError(f"{name} must be a typed JAX random key, got None; {advice}")
    if not isinstance(key, jax.Array) or not jnp.issubdtype(
        key.dtype, jax.dtypes.prng_key
    ):
        raise ValueError(
            f"{name} must be a typed JAX random key, got {_describe(key)}; {advice}"
        )
    if key.ndim != 0:
        raise ValueError(
            f"{name} must be a single key, got an array of keys of shape {key.shape}"
        )
    return key


def shape(name: str, value: Any, expected: tuple[int | str, ...]) -> None:
    """Compares `value.shape` with `expected`, in which a word stands for any size."""
    actual = jnp.shape(value)
    fits = len(actual) == len(expected) and all(
        isinstance(want, str) or size == want
        for size, want in zip(actual, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(want) for want in expected)
        raise ValueError(f"{name} must have shape ({wanted}), got shape {actual}")


def finite_leaves(name: str, tree: PyTree) -> None:
    """No floating-point leaf of `tree` may be of half precision, and no concrete one hold a NaN or an infinite value."""
    for path, leaf in jtu.tree_leaves_with_path(tree):
        # `eqx.tree_at` can put plain numbers where arrays were.
        is_number = isinstance(leaf, (jax.Array, np.ndarray, np.generic, float))
        is_float = is_number and jnp.issubdtype(
            getattr(leaf, "dtype", float), jnp.floating
        )
        if not is_float:
            continue
        _check_dtype(name + jtu.keystr(path), getattr(leaf, "dtype", float), leaf)
        if not is_concrete(leaf):
            continue
        # The reduction runs where the array lives, also while something else is traced; one truth value travels.
        with jax.ensure_compile_time_eval():
            all_finite = bool(jnp.isfinite(cast(ArrayLike, leaf)).all())
        if not all_finite:
            _check_entries(name + jtu.keystr(path), np.asarray(leaf), None, None)


def _numbers(name: str, value: Any) -> np.ndarray:
    # Not with `dtype=float`, which takes None for NaN and reads numbers out of strings.
    try:
        entries = np.asarray(value)
    except Exception:  # of ragged lists, keys, and whatever a caller's class raises
        entries = np.asarray(None)
    _check_dtype(name, entries.dtype, value)
    return entries.astype(float)


def _check_dtype(name: str, dtype: Any, value: Any) -> None:
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    if not any(jnp.issubdtype(dtype, kind) for kind in kinds):
        raise ValueError(f"{name} must be numeric, got {shown(value)}")
    if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32:
        raise ValueError(
            f"{name} must be of single or double precision, float32 or float64, got {dtype}"
        )


def _check_entries(
    name: str,
    entries: np.ndarray,
    above: float | None,
    at_least: float | None,
    given: np.ndarray | None = None,
    within: str = "",
) -> None:
    """`given` are the numbers to show, where `entries` are what became of them `within` a type."""
    if entries.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {entries.shape}")
    allowed, rule = np.isfinite(entries), "finite"
    if above is not None:
        allowed, rule = (
            allowed & (entries > above),
            f"finite and greater than {above:g}",
        )
    if at_least is not None:
        allowed, rule = (
            allowed & (entries >= at_least),
            f"finite and at least {at_least:g}",
        )
    if not np.all(allowed):
        index = tuple(int(i) for i in np.argwhere(~allowed)[0])
        where = f" at index {index}" if index else ""
        wrong = (entries if given is None else given)[index]
        raise ValueError(f"{name} must be {rule}{within}, got {wrong}{where}")


def _describe(value: Any) -> str:
    if isinstance(value, (jax.Array, np.ndarray)):
        return f"an array of type {value.dtype} and shape {value.shape}"
    return shown(value)
