"""What differs between two descriptions of a sweep, for people to read."""

import json
from collections.abc import Iterator
from typing import Any

SHOWN = 5  # changes that a message lists


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """What differs between two pieces of JSON, a line for each."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{where}.{name}" if where else name
            yield from differences(
                old.get(name, "absent"), new.get(name, "absent"), inner
            )
    # As text: 1, 1.0 and True are equal, also within a list.
    elif json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True):
        if where.endswith((".source", ".bytecode")):
            yield f"{where} (the code itself)"
        else:
            yield f"{where} was {short(old)}, is {short(new)}"


def short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def listed(changes: list[str]) -> str:
    more = len(changes) - SHOWN
    return "; ".join(changes[:SHOWN]) + (f"; and {more} more" if more > 0 else "")
