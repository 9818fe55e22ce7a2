"""Whether what came out of a layer means anything.

Spikes are a comparison, which hides a NaN: no neuron fires. So not only what is decoded is looked at.
"""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ratelike._neuron import factors_are_right
from ratelike._population._output import LayerOutput
from ratelike._population._population import Population
from ratelike._signal._drive import GridPath
from ratelike._types import PyTree


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """No floating-point leaf holds a NaN or an infinite value."""
    finite = jnp.asarray(True)
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            finite &= jnp.all(jnp.isfinite(leaf))
    return finite


def made_sense(
    population: Population, path: diffrax.AbstractPath[Any], output: LayerOutput
) -> Bool[Array, ""]:
    """The dynamics succeeded, with finite parameters, input and potentials, and a finite result.

    A dead time that is NaN, or a potential that is infinite, need not leave a trace in what is decoded. Nor need a kernel
    that has become so strong since its neuron was made that the two factors of the hazard leave the range of numbers.
    """
    neuron, encoder = population.neuron, population.encoder
    numbers = (neuron, population.bias, encoder, path, output.decoded)
    finite = output.succeeded & all_finite(numbers)
    finite &= factors_are_right(neuron)
    if isinstance(path, GridPath):
        # |h - b| <= max |E dX| / dt: no step in between has overflown if this has not.
        largest = jnp.max(jnp.abs(encoder), initial=0.0) * jnp.max(
            jnp.abs(path.values), initial=0.0
        )
        finite &= jnp.isfinite(largest * (encoder.shape[1] / path.grid.dt))
    return finite


def not_finite_error(what: str, where: str) -> RuntimeError:
    """The error of a run, called `what`, that had values that are not finite; `where` says in which part of it."""
    return RuntimeError(
        f"{what} did not reach the end of the grid with finite values, {where}. With a diffrax solver other than "
        "AgeShift: increase max_steps, take shorter steps or wider age bins, loosen the tolerances, or choose another "
        "solver. Else look at the input, at parameters and at escape rates and kernels of your own, which may be too "
        "large or not finite."
    )
