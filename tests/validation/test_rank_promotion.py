"""Callers may forbid arrays of different rank to meet, in their own code: the library's still do."""

import jax
import jax.numpy as jnp
import pytest

import ratelike as rl
from tests.oracles import networks

GRID = rl.TimeGrid(1e-3, 20)
INCREMENTS = jnp.zeros((20, 2))


def relay(neuron):
    return networks.relay(neuron, 6)


NETWORKS = {
    "adaptive": relay(rl.AdaptiveSRM()),
    "mixture": relay(rl.Mixture([rl.SRM0(), rl.LIF()], [0, 1] * 3)),
    "feedback": rl.attractor_network(
        rl.SRM0(), num_neurons=6, num_patterns=2, key=jax.random.key(0)
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            n, marks=[pytest.mark.slow] if n in ("adaptive", "mixture") else []
        )
        for n in NETWORKS
    ],
)
def test_all_dynamics_run_and_are_differentiated(name):
    """Only traced, which is where it would fail."""
    network, key = NETWORKS[name], jax.random.key(0)

    def outputs(increments, dynamics):
        return rl.simulate(network, increments, GRID, dynamics, key=key).outputs.sum()

    graded = rl.GeneralisedRate(rl.AgeShift(rl.AgeMesh.graded(rl.LIF(), 1e-2)))
    rates = [rl.GeneralisedRate(), graded, rl.ConventionalRate()]
    with jax.numpy_rank_promotion("raise"):
        for dynamics in [rl.Spiking(), *rates]:
            jax.eval_shape(lambda dX, d=dynamics: outputs(dX, d), INCREMENTS)
        for dynamics in rates:
            derivative = jax.grad(outputs)
            jax.eval_shape(lambda dX, d=dynamics, f=derivative: f(dX, d), INCREMENTS)
        if name == "mixture":
            layer = network.layers[0]
            jax.eval_shape(lambda dX: rl.readout_variance(layer, dX, GRID), INCREMENTS)
