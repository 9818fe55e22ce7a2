"""Checks of numbers and of arrays of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ratelike._types import Numbers
from ratelike._validation._entries import as_numbers, check_dtype, check_entries
from ratelike._validation._shown import shown
from ratelike._validation._structure import finite_leaves, is_concrete
from ratelike._validation._unit_carriers import unit_of

# Neurons and steps are numbered by 32-bit integers.
LARGEST_COUNT = 2**31 - 1


def parameter(
    name: str,
    value: Numbers,
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
        entries = as_numbers(name, value)
        check_entries(name, entries, above, at_least)
        with np.errstate(over="ignore", under="ignore"):
            stored = entries.astype(dtype)
        check_entries(name, stored, above, at_least, entries, f" in {dtype}")
    else:
        for leaf in jax.tree.leaves(value):
            check_dtype(name, jnp.result_type(leaf), value)
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
    entries = as_numbers(name, value)
    if entries.ndim != 0:
        raise ValueError(f"{name} must be one number, got shape {entries.shape}")
    check_entries(name, entries, above, at_least)
    return float(entries)


def count(name: str, value: int, *, at_least: int = 1) -> int:
    """A Python int of at least `at_least`."""
    bare(name, value)
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        check_dtype(name, value.dtype, value)
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


def flag(name: str, value: Any) -> bool:
    """A truth value, and nothing that passes for one."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def burn_in(value: int, num_steps: int) -> int:
    """A number of steps to leave out at the beginning, of which some remain."""
    value = count("burn_in", value, at_least=0)
    if value >= num_steps:
        raise ValueError(
            f"burn_in must be less than the number of steps, {num_steps}, got {value}"
        )
    return value
