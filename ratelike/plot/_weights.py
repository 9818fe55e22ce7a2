"""The weights from one layer to the next."""

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from ratelike import _validation as validation
from ratelike._network import Network
from ratelike.plot._style import drawing_on


def weights(
    network: Network, layer: int, *, num_neurons: int = 200, ax: Axes | None = None
) -> Axes:
    """W = E_{l+1} D_l^T / N from layer `layer` to the next, as colour: by how much a spike of j moves the potential of i.

    A spike makes the potential jump by W_ij / tau_m, in units of the potential. The first `num_neurons` of both layers
    are shown; the rest of W is not computed.

    Raises `ValueError` for a layer without a next one.
    """
    validation.instance("network", network, Network)
    layer = validation.count("layer", layer, at_least=0)
    num_neurons = validation.count("num_neurons", num_neurons)
    if layer > network.depth - 2:
        raise ValueError(
            f"layer must have a next one: at most {network.depth - 2} in a network of {network.depth} layers, got {layer}"
        )
    before, after = network.layers[layer].stored(), network.layers[layer + 1].stored()
    senders, receivers = (
        min(num_neurons, each.num_neurons) for each in (before, after)
    )
    shown = jnp.matmul(
        after.encoder[:receivers], before.decoder[:senders].T, precision="highest"
    )
    tau_m = np.broadcast_to(after.neuron.tau_m, (after.num_neurons,))[:receivers, None]
    jumps = np.asarray(shown) / before.num_neurons / tau_m
    with drawing_on(ax) as ax:
        limit = np.abs(jumps).max() or 1.0
        image = ax.imshow(jumps, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        bar = ax.figure.colorbar(image, ax=ax)
        bar.set_label(r"$W_{ij}/\tau_m$ (potential)")
        ax.set_xticks((-0.5, senders - 0.5), ["1", f"{senders}"])
        ax.set_yticks((-0.5, receivers - 0.5), ["1", f"{receivers}"])
        ax.set_xlabel(f"from neuron $j$ of layer {layer}")
        ax.set_ylabel(f"to neuron $i$ of layer {layer + 1}")
    return ax
