"""Mistakes that run, and whose results look like results: one line of warning."""

import os
import sys
import warnings

import equinox
import jaxtyping
import numpy as np
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._types import Numbers

# Seconds. The slowest membranes take a few hundred milliseconds, the longest dead times some ten.
LONGEST_TIME_CONSTANT, LONGEST_DEAD_TIME = 1.0, 0.5


def _folder(module_file: str) -> str:
    return os.path.dirname(os.path.abspath(module_file)) + os.sep


# A warning belongs to the caller's line: not to one of ours, nor to the constructor of a module or a check of annotations.
NOT_THE_CALLER = (
    _folder(os.path.dirname(os.path.abspath(__file__))),
    _folder(equinox.__file__),
    _folder(jaxtyping.__file__),
)


def warn(message: str) -> None:
    """At the caller's own line."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(
        NOT_THE_CALLER
    ):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def time_constant(
    name: str, value: Numbers, shape: tuple[int, ...] | None = None
) -> Float[Array, "..."]:
    """A parameter above zero, with a warning where it looks like milliseconds."""
    checked = validation.parameter(name, value, above=0.0)
    if shape is not None:
        validation.shape(name, checked, shape)
    warn_of_milliseconds(name, value, LONGEST_TIME_CONSTANT)
    return checked


def warn_of_milliseconds(name: str, value: Numbers, longest: float) -> None:
    """Of a time that is concrete and checked."""
    if validation.is_concrete(value):
        seconds = float(np.max(np.asarray(value, float)))
        if seconds > longest:
            warn(f"{name} is {seconds:g} s: times are in seconds, not milliseconds")
