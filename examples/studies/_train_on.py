"""How `trained.py` trains a network on, once it is one of spiking neurons."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from _rnn import GRID, draw_trials

import ratelike as rl


class Loss(eqx.Module):
    """That of the rate network and, of the variance of its spikes, a share: what is left of it in so many copies."""

    share: jax.Array
    offset: jax.Array  # of the outputs from the report

    def __call__(self, network: rl.Network, key: jax.Array) -> jax.Array:
        evidence, target = draw_trials(key, 4)

        def of_trial(evidence, target, key):
            trial = network, evidence * GRID.dt, GRID, target + self.offset
            rate = rl.rate_loss(*trial)
            spiking = rl.expected_spiking_loss(*trial, num_probes=1, key=key)
            return (1 - self.share) * rate + self.share * spiking

        return jnp.mean(jax.vmap(of_trial)(evidence, target, jax.random.split(key, 4)))


def train_on(network: rl.Network, loss: Loss, optimiser, num_steps: int) -> rl.Network:
    def where(network):
        layer = network.layers[0]
        own = layer.feedback
        return layer.encoder, layer.decoder, layer.bias, own.encoder, own.decoder

    key = jax.random.key(0)
    arguments: Any = dict(optimiser=optimiser, num_steps=num_steps, key=key)
    return rl.fit(network, loss, where=where, **arguments).network
