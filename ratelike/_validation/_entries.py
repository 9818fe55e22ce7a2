"""The entries of what should be numbers."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ratelike._validation._shown import shown


def as_numbers(name: str, value: Any) -> np.ndarray:
    # Not with `dtype=float`, which takes None for NaN and reads numbers out of strings.
    try:
        entries = np.asarray(value)
    except Exception:  # of ragged lists, keys, and whatever a caller's class raises
        entries = np.asarray(None)
    check_dtype(name, entries.dtype, value)
    return entries.astype(float)


def check_dtype(name: str, dtype: Any, value: Any) -> None:
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    if not any(jnp.issubdtype(dtype, kind) for kind in kinds):
        raise ValueError(f"{name} must be numeric, got {shown(value)}")
    if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32:
        raise ValueError(
            f"{name} must be of single or double precision, float32 or float64, got {dtype}"
        )


def check_entries(
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
