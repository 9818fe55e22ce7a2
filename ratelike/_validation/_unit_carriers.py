"""Quantities that carry a physical unit, of whatever package: turned into an array they would lose it without a word."""

from typing import Any

import jax
import numpy as np

# A unit as text, where it is none. Percent and the like have a scale, and are units.
NO_UNIT = ("", "1", "1.0", "dimensionless", "1 dimensionless", "1.0 dimensionless")
ATTRIBUTES = ("units", "unit", "dimensionality")
PLAIN = (str, bytes, bool, int, float, complex, np.generic, jax.Array, type(None))


def unit_of(value: Any) -> str | None:
    """The unit of `value`, or of the first element of a sequence that has one, as text; None for plain numbers."""
    if type(value) is np.ndarray:
        return _unit_of_entries(value)
    if isinstance(value, (np.timedelta64, np.datetime64)):
        return str(value.dtype)
    if isinstance(value, (PLAIN, type)):
        return None
    own = _own_unit(value)
    if own is None and isinstance(value, (list, tuple)):
        units = (unit_of(each) for each in value)
        own = next((unit for unit in units if unit is not None), None)
    return own


def _unit_of_entries(array: np.ndarray) -> str | None:
    if array.dtype.kind in "mM":  # times of NumPy, which pass for whole numbers
        return str(array.dtype)
    if array.dtype.kind != "O":
        return None
    units = (unit_of(each) for each in array.flat)
    return next((unit for unit in units if unit is not None), None)


def _own_unit(value: Any) -> str | None:
    for attribute in ATTRIBUTES:
        unit = _attribute(value, attribute)
        # The columns and labels of a table answer to their names as well: these are numbers, or have a length.
        is_data = isinstance(unit, (bool, int, float, np.generic))
        if unit is None or is_data or callable(unit) or getattr(unit, "ndim", 0):
            continue
        text = "" if _is_empty(unit) else str(unit).strip()
        if text.lower() not in NO_UNIT:
            return text
    # Brian2 has dimensions, and no unit.
    if _attribute(_attribute(value, "dim"), "is_dimensionless") is False:
        return str(value.dim)
    return None


def _is_empty(unit: Any) -> bool:
    """A mapping of dimensions to their powers, without any."""
    return isinstance(unit, dict) and not unit


def _attribute(value: Any, name: str) -> Any:
    # Attributes may be computed, and fail in any way.
    try:
        return getattr(value, name, None)
    except Exception:
        return None
