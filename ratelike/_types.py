"""Types that arguments have in many places."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from jaxtyping import ArrayLike

if TYPE_CHECKING:
    # jaxtyping leaves type checkers without an answer; to them a tree may be anything. They bring this library along.
    from typing_extensions import TypeAliasType, TypeVar

    Leaf = TypeVar("Leaf", default=Any)
    PyTree = TypeAliasType("PyTree", Any, type_params=(Leaf,))
else:
    from jaxtyping import PyTree as PyTree

# What the checks of `_validation` turn into an array: a number, an array, or a list of these.
Numbers: TypeAlias = ArrayLike | Sequence[Any]
