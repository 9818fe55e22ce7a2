"""Layers that are alike run as a loop, with the numbers that each would have by itself."""

import jax
import numpy as np
import pytest

import ratelike as rl

GRID = rl.TimeGrid(0.5e-3, 100)


def network_of(widths):
    """Layers of these widths, each with a membrane time constant and connections of its own."""
    layers = []
    for index, width in enumerate(widths):
        neuron = rl.SRM0(tau_m=(8.0 + index) * 1e-3)
        key = jax.random.key(index)
        one = rl.relay_network(
            neuron, num_neurons=width, num_latents=3, depth=1, key=key
        )
        layers += one.layers
    return rl.Network(layers)


@pytest.mark.parametrize("widths", [(70, 70, 70), (70, 65, 65, 70, 70)])
@pytest.mark.parametrize("dynamics", [rl.Spiking(), rl.GeneralisedRate()])
def test_layers_in_a_loop_are_those_run_apart(widths, dynamics):
    network = network_of(widths)
    increments = rl.WienerDrive(3, key=jax.random.key(7)).increments(GRID)
    key = jax.random.key(8) if dynamics.needs_key else None

    def run(record):
        return rl.simulate(network, increments, GRID, dynamics, key=key, record=record)

    in_loops = run({})
    # Layers of which neurons are recorded are run apart.
    apart = run({layer: [0] for layer in range(len(widths))})
    np.testing.assert_array_equal(in_loops.increments, apart.increments)
    np.testing.assert_array_equal(in_loops.rates, apart.rates)
    np.testing.assert_array_equal(in_loops.outputs, apart.outputs)
    assert len({rates.tobytes() for rates in np.asarray(apart.rates)}) == len(widths)


@pytest.mark.slow
def test_gradients_through_a_loop_are_those_of_layers_run_apart():
    network = network_of((70, 70, 70))
    increments = rl.WienerDrive(3, key=jax.random.key(7)).increments(GRID)

    def power(network, record):
        run = rl.simulate(
            network, increments, GRID, rl.ConventionalRate(), record=record
        )
        return (run.outputs**2).sum()

    in_a_loop = jax.grad(power)(network, {})
    apart = jax.grad(power)(network, {layer: [0] for layer in range(3)})
    for one, other in zip(
        jax.tree.leaves(in_a_loop), jax.tree.leaves(apart), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * abs(other).max())


def test_the_loops_of_a_program_do_not_grow_with_the_layers():
    def loops(depth):
        network = rl.relay_network(
            rl.SRM0(), num_neurons=64, num_latents=2, depth=depth, key=jax.random.key(0)
        )

        def outputs(increments):
            dynamics = rl.ConventionalRate()
            return rl.simulate(network, increments, GRID, dynamics).outputs

        program = jax.jit(outputs).lower(np.zeros((100, 2), np.float32)).as_text()
        return program.count("stablehlo.while")

    assert loops(8) == loops(2) > 0
