"""Whether what came out of a layer means anything.

Spikes are a comparison, which hides a NaN: nobody fires. So not only what is decoded is looked at.
"""

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from ratelike._network import Layer
from ratelike._neuron import factors_are_right
from ratelike._population._output import LayerOutput
from ratelike._signal._drive import GridPath


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """No floating-point leaf holds a NaN or an infinite value."""
    finite = jnp.asarray(True)
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            finite &= jnp.all(jnp.isfinite(leaf))
    return finite


def made_sense(
    layer: Layer, path: diffrax.AbstractPath, output: LayerOutput
) -> Bool[Array, ""]:
    """The dynamics succeeded, with finite parameters, input and potentials, and a finite result.

    A dead time that is NaN, or a potential that is infinite, need not leave a trace in what is decoded. Nor need a kernel
    that has become so strong since its neuron was made that the two factors of the hazard leave the range of numbers.
    """
    numbers = (layer.neuron, layer.bias, layer.encoder, path, output.decoded)
    finite = output.succeeded & all_finite(numbers)
    finite &= factors_are_right(layer.neuron)
    if isinstance(path, GridPath):
        # |h - b| <= max |E dX| / dt: no step in between has overflown if this has not.
        largest = jnp.max(jnp.abs(layer.encoder)) * jnp.max(jnp.abs(path.values))
        finite &= jnp.isfinite(largest * (layer.num_latents / path.grid.dt))
    return finite
