"""Packages of others that are imported when they are needed, and not before: extras, which may be missing."""

import importlib
from typing import Any


def imported(package: str, caller: str) -> Any:
    """The module. Raises `ImportError` that says how to install it for `ratelike.{caller}`."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"ratelike.{caller} needs {package}: pip install 'ratelike[{package}]', or pip install {package}"
        ) from error
