"""Layers that hand their paths on."""

from collections.abc import Iterable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ratelike import _validation as validation
from ratelike._network._layer import AbstractLayer
from ratelike._types import Numbers
from ratelike._validation import _plausibility as plausibility


class Network(eqx.Module):
    """Layers that hand their paths on, the last one to output units that only decode: y = kappa * dX_L.

    `output_tau_m` is the membrane time constant of the output units in seconds; by default that of the last layer's
    neurons (their mean).

    Raises `ValueError` for no layers, or for a layer that does not take as many latents as the one before hands on.
    """

    layers: tuple[Any, ...]  # of `Layer`, or of another `AbstractLayer`
    output_tau_m: Float[Array, ""]

    def __init__(
        self, layers: Sequence[AbstractLayer], output_tau_m: Numbers | None = None
    ) -> None:
        validation.instance("Network.layers", layers, Iterable)
        self.layers = tuple(layers)
        for index, layer in enumerate(self.layers):
            validation.instance(f"Network.layers[{index}]", layer, AbstractLayer)
        if not self.layers:
            raise ValueError("Network.layers must hold at least one layer, got none")
        for index, (before, after) in enumerate(
            zip(self.layers[:-1], self.layers[1:], strict=True)
        ):
            handed_on = before.num_latents_out
            if after.num_latents != handed_on:
                raise ValueError(
                    f"Network.layers[{index + 1}].encoder must take the {handed_on} latents that layer {index} hands "
                    f"on, got {after.num_latents}"
                )
        name = "Network.output_tau_m"
        if output_tau_m is None:
            output_tau_m = jnp.mean(self.layers[-1].neuron.tau_m)
            self.output_tau_m = validation.parameter(name, output_tau_m, above=0.0)
        else:
            self.output_tau_m = plausibility.time_constant(name, output_tau_m, ())
        validation.shape("Network.output_tau_m", self.output_tau_m, ())

    @property
    def depth(self) -> int:
        return len(self.layers)

    def stored(self) -> "Network":
        """The same network with all connections in memory."""
        layers = tuple(layer.stored() for layer in self.layers)
        return eqx.tree_at(lambda network: network.layers, self, layers)

    def weights(self, layer: int) -> Float[Array, "neurons_out neurons_in"]:
        """W = E_{l+1} D_l^T / N from layer `layer` to the next: for pictures; nothing computes with it.

        Raises `ValueError` for a layer without a next one.
        """
        layer = validation.count("layer", layer, at_least=0)
        if layer > self.depth - 2:
            raise ValueError(
                f"layer must have a next one: at most {self.depth - 2} in a network of {self.depth} layers, got {layer}"
            )
        before, after = self.layers[layer].stored(), self.layers[layer + 1].stored()
        return (
            jnp.matmul(after.encoder, before.decoder.T, precision="highest")
            / before.num_neurons
        )
