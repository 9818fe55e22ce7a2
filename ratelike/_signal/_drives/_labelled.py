"""Tables that bring their times along: those of pandas and xarray, by what they answer to; neither is imported."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ratelike import _validation as validation
from ratelike._validation._entries import as_numbers, check_entries

SECONDS = ("s", "sec", "second", "seconds")


@runtime_checkable
class Labelled(Protocol):
    """A table of another package, which NumPy can read."""

    def __array__(self) -> np.ndarray: ...


def without_labels(name: str, table: Any) -> tuple[Any, Any]:
    """The entries of a table, with time along the first axis, and its times, or None where rows are only counted."""
    if _is_xarray(table):
        return _of_xarray(name, table)
    if hasattr(table, "to_numpy") and hasattr(table, "index"):
        counts = np.array_equal(np.asarray(table.index), np.arange(len(table)))
        return np.asarray(table), None if counts else table.index
    return table, None


def seconds(name: str, times: Any) -> Float[np.ndarray, " times"]:
    """Times in float64, of numbers in seconds or of time differences."""
    entries = _array(times)
    if entries is not None and entries.dtype.kind == "m":
        entries = entries / np.timedelta64(1, "s")
    else:
        if entries is not None and entries.dtype.kind == "M":
            raise ValueError(
                f"{name} must be seconds from the beginning of the run, or time differences, got dates; subtract the "
                "first one"
            )
        validation.bare(name, times)
        entries = as_numbers(name, times)
    check_entries(name, entries, None, None)
    if entries.ndim != 1:
        raise ValueError(f"{name} must be a list of times, got shape {entries.shape}")
    return entries


def _is_xarray(table: Any) -> bool:
    return isinstance(getattr(table, "dims", None), tuple) and hasattr(table, "coords")


def _of_xarray(name: str, table: Any) -> tuple[Any, Any]:
    validation.bare(name, table)
    if "time" not in table.dims and len(table.dims) != 1:
        raise ValueError(
            f"{name} must have a dimension 'time', got the dimensions {table.dims}"
        )
    time = "time" if "time" in table.dims else table.dims[0]
    entries = np.asarray(table.transpose(time, ...))
    if time not in table.coords:
        return entries, None
    times = table.coords[time]
    unit = times.attrs.get("units", "s")
    if unit not in SECONDS:
        raise ValueError(
            f"the times of {name} must be in seconds, got {unit!r}; convert them"
        )
    return entries, np.asarray(times)


def _array(times: Any) -> np.ndarray | None:
    try:
        return np.asarray(times)
    except Exception:  # of ragged lists, keys, and whatever a caller's class raises
        return None
