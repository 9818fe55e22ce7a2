"""What checks the library's annotations while the tests run: see `addopts` in `pyproject.toml`."""

import inspect
import re
from collections.abc import Callable

from beartype import BeartypeConf, beartype

# A whole number is a `float` to type checkers.
CONFIGURATION = BeartypeConf(is_pep484_tower=True)


def checked_after_return(function: Callable) -> Callable:
    """Beartype, but not before the function has returned: what it refuses by name, it may be given.

    jaxtyping hands over two functions of the same parameters, one to call before and one to call after, which has the
    returned value as a further argument and alone knows its annotation. That one checks the arguments as well. (A
    function without an annotation for what it returns is not checked at all.)
    """
    after = any(
        each.kind is each.KEYWORD_ONLY and re.fullmatch(r"ret\d+", each.name)
        for each in inspect.signature(function).parameters.values()
    )
    return beartype(function, conf=CONFIGURATION) if after else function
