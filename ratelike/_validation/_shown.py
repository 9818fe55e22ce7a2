"""Values in messages."""

from typing import Any

import jax
import numpy as np

# Characters of a value in a message.
LONGEST_SHOWN = 120


def shown(value: Any) -> str:
    """`value` as a message shows it: on one line, and not longer than a glance."""
    if isinstance(value, (jax.Array, np.ndarray)) and value.size > 8:
        return description(value)
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a caller's own class may fail in any way
        text = f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 4] + " ..."


def description(value: Any) -> str:
    if isinstance(value, (jax.Array, np.ndarray)):
        return f"an array of type {value.dtype} and shape {value.shape}"
    return shown(value)
