"""Checks of kinds, shapes, keys and of whole trees."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike

from ratelike._types import PyTree
from ratelike._validation._entries import check_dtype, check_entries
from ratelike._validation._shown import description, shown


def is_concrete(value: Any) -> bool:
    """Whether no leaf of `value` is being traced."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value))


def instance(name: str, value: Any, kind: type) -> None:
    """`value` is an object of the class `kind`, and not for instance the class itself."""
    if not isinstance(value, kind):
        raise ValueError(
            f"{name} must be an instance of {kind.__name__}, got {shown(value)}"
        )


def function(name: str, value: Any, what: str) -> None:
    """`value` can be called; `what` says on which arguments."""
    if not callable(value):
        raise ValueError(f"{name} must be a function of {what}, got {shown(value)}")


def typed_key(name: str, key: Any) -> Array:
    """Explicit typed keys only: a raw `uint32` array or a missing key is a mistake to be told early."""
    advice = "make one with jax.random.key(seed)"
    if key is None:
        raise ValueError(f"{name} must be a typed JAX random key, got None; {advice}")
    if not isinstance(key, jax.Array) or not jnp.issubdtype(
        key.dtype, jax.dtypes.prng_key
    ):
        raise ValueError(
            f"{name} must be a typed JAX random key, got {description(key)}; {advice}"
        )
    if key.ndim != 0:
        raise ValueError(
            f"{name} must be a single key, got an array of keys of shape {key.shape}"
        )
    return key


def shape(name: str, value: Any, expected: tuple[int | str, ...]) -> None:
    """Compares `value.shape` with `expected`, in which a word stands for any size."""
    actual = jnp.shape(value)
    fits = len(actual) == len(expected) and all(
        isinstance(want, str) or size == want
        for size, want in zip(actual, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(want) for want in expected)
        raise ValueError(f"{name} must have shape ({wanted}), got shape {actual}")


def finite_leaves(name: str, tree: PyTree) -> None:
    """No floating-point leaf of `tree` may be of half precision, and no concrete one hold a NaN or an infinite value."""
    for path, leaf in jtu.tree_leaves_with_path(tree):
        # `eqx.tree_at` can put plain numbers where arrays were.
        is_number = isinstance(leaf, (jax.Array, np.ndarray, np.generic, float))
        is_float = is_number and jnp.issubdtype(
            getattr(leaf, "dtype", float), jnp.floating
        )
        if not is_float:
            continue
        check_dtype(name + jtu.keystr(path), getattr(leaf, "dtype", float), leaf)
        if not is_concrete(leaf):
            continue
        if not _all_finite(cast(ArrayLike, leaf)):
            check_entries(name + jtu.keystr(path), np.asarray(leaf), None, None)


def _all_finite(leaf: ArrayLike) -> bool:
    """The reduction runs where the array lives, also while something else is traced; one truth value travels."""
    if isinstance(leaf, jax.Array) and not _is_on_one_processor(leaf):
        with jax.ensure_compile_time_eval():
            return bool(jnp.isfinite(leaf).all())
    # By NumPy: nothing is copied, and no program is compiled for each shape.
    return bool(np.isfinite(np.asarray(leaf)).all())


def _is_on_one_processor(array: Array) -> bool:
    devices = array.devices()
    return len(devices) == 1 and next(iter(devices)).platform == "cpu"
