"""Whether an escape rate is one: never negative, and finite at all potentials."""

import weakref

import jax
import jax.numpy as jnp
import numpy as np

from ratelike import _validation as validation
from ratelike._escape import (
    AbstractEscape,
    ExponentialEscape,
    SigmoidEscape,
    SoftplusEscape,
)
from ratelike._types import PyTree

# Fine around zero, and far: whether the argument of an exponential is clamped shows at large potentials only.
_HALF = np.geomspace(1e-2, 1e4, 25)
POTENTIALS = np.concatenate([-_HALF[::-1], [0.0], _HALF])
# Of these the formula is known to be right, so that their parameters decide.
KNOWN = (ExponentialEscape, SigmoidEscape, SoftplusEscape)

# Escape rates do not change: each is looked at once, however often its network is simulated.
_checked: "weakref.WeakValueDictionary[int, AbstractEscape]" = (
    weakref.WeakValueDictionary()
)


def check_escape_rates(name: str, neuron: PyTree) -> None:
    """Every escape rate within `neuron` whose parameters are concrete."""
    found = jax.tree_util.tree_leaves_with_path(neuron, is_leaf=_is_escape)
    for path, escape in found:
        if not _is_escape(escape) or _checked.get(id(escape)) is escape:
            continue
        if validation.is_concrete(escape):
            _check(name + jax.tree_util.keystr(path), escape)
            _checked[id(escape)] = escape


def _is_escape(node: object) -> bool:
    return isinstance(node, AbstractEscape)


def _check(name: str, escape: AbstractEscape) -> None:
    if type(escape) in KNOWN:
        for field in ("rate", "width"):
            validation.parameter(f"{name}.{field}", getattr(escape, field), above=0.0)
        return
    rates = _rates(name, escape)
    if not jnp.issubdtype(rates.dtype, jnp.floating) or len(rates) != len(POTENTIALS):
        raise ValueError(
            f"{name} must act elementwise on floating-point numbers, got {validation.shown(rates)} for potentials of "
            f"shape {POTENTIALS[:, None].shape}"
        )
    wrong = ~(np.isfinite(rates) & (rates >= 0.0)).reshape(len(POTENTIALS), -1)
    if np.any(wrong):
        # The smallest potential at which it goes wrong says most.
        rows = np.flatnonzero(wrong.any(axis=1))
        row = rows[np.argmin(np.abs(POTENTIALS[rows]))]
        values = rates.reshape(len(POTENTIALS), -1)
        rate = values[row][wrong[row]][0]
        raise ValueError(
            f"{name}, an escape rate in hertz, must be finite and at least 0 at every potential, got {rate:g} at the "
            f"potential {POTENTIALS[row]:g}; clamp its argument"
        )


def _rates(name: str, escape: AbstractEscape) -> np.ndarray:
    """(potentials, neurons or 1)."""
    types = [leaf.dtype for leaf in jax.tree.leaves(escape) if hasattr(leaf, "dtype")]
    floats = [dtype for dtype in types if jnp.issubdtype(dtype, jnp.floating)]
    dtype = floats[0] if floats else float
    # Values are wanted also while something else is traced.
    with jax.ensure_compile_time_eval():
        potentials = jnp.asarray(POTENTIALS[:, None], dtype=dtype)
        try:
            return np.atleast_1d(np.asarray(escape(potentials)))
        except Exception as error:
            raise ValueError(
                f"{name} must be an escape rate in hertz as a function of an array of potentials, got "
                f"{type(error).__name__}: {validation.shown(str(error))}"
            ) from error
