"""An age mesh that is fitted to a network and its input keeps to its tolerance, where a graded one does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

DT, STEPS = 0.5e-3, 400
GRID = rl.TimeGrid(DT, STEPS)


def noise():
    return rl.WienerDrive(4, key=jax.random.key(1)).increments(GRID)


def steps():
    """Of +-10 in units of the potential, every 50 ms."""
    signal = 10.0 * np.where(np.arange(STEPS) * DT % 0.1 < 0.05, 1.0, -1.0)
    return DT * np.outer(signal, np.full(4, 0.5))


def kernel(*numbers, **named):
    return rl.SRM0(refractory=rl.ExponentialRefractory(*numbers, **named))


ALPHA = rl.SRM0(refractory=rl.AlphaRefractory(12.0, 30e-3, memory=0.3))
TABLE = rl.SRM0(refractory=rl.TableRefractory(-10.0 * np.hanning(41), 2e-3, 2e-3))
# Neuron, input, gain of the encoders, and whether a graded mesh of the same tolerance fails.
CASES = {
    "amplitude 15, steps": (kernel(15.0), steps, 1.0, True),
    "LIF, steps": (rl.LIF(), steps, 1.0, True),
    "alpha, gain 3": (ALPHA, noise, 3.0, True),
    "table, steps": (TABLE, steps, 1.0, False),
    "amplitude 20, gain 3": (kernel(20.0, 10e-3), noise, 3.0, True),
    "LIF, gain 3": (rl.LIF(), noise, 3.0, True),
    "default": (rl.SRM0(), noise, 1.0, False),
}


@pytest.mark.filterwarnings("ignore:increments move the potential")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) for n in CASES]
)
def test_error_is_below_the_tolerance(name):
    """Of outputs, per mean absolute output, in a network of other neurons than those that were measured."""
    neuron, drive, gain, graded_fails = CASES[name]
    network = rl.relay_network(
        neuron,
        num_neurons=300,
        num_latents=4,
        depth=1,
        gain=gain,
        key=jax.random.key(0),
    )
    increments, tolerance = jnp.asarray(drive()), 1e-3

    def outputs(mesh):
        dynamics = rl.GeneralisedRate(rl.AgeShift(mesh))
        return np.asarray(rl.simulate(network, increments, GRID, dynamics).outputs)

    exact = outputs(rl.AgeMesh.uniform())

    def error(mesh):
        return np.abs(outputs(mesh) - exact).mean() / np.abs(exact).mean()

    mesh = rl.fitted_age_mesh(network, increments, GRID, tolerance)
    assert error(mesh) < tolerance
    # And it is no exact mesh in disguise.
    assert error(mesh) > 1e-4 * tolerance
    bins = mesh.schedule_of(neuron, DT).num_bins
    assert bins < 0.6 * neuron.memory / DT
    if graded_fails:
        assert error(rl.AgeMesh.graded(neuron, tolerance)) > 2.0 * tolerance


@pytest.mark.slow
def test_neurons_without_memory_have_one_bin():
    """Alone the mesh is uniform; beside a layer with memory they do not count."""
    memoryless = rl.SRM0(refractory=rl.NoRefractory())
    layers = [
        rl.relay_network(
            neuron, num_neurons=8, num_latents=4, depth=1, key=jax.random.key(0)
        ).layers[0]
        for neuron in (memoryless, rl.SRM0())
    ]
    assert rl.fitted_age_mesh(rl.Network(layers[:1]), noise(), GRID).widths is None
    mesh = rl.fitted_age_mesh(rl.Network(layers), noise(), GRID, 1e-2)
    assert mesh.widths is not None
    assert np.isfinite(mesh.widths).all()


def test_bad_arguments():
    network = rl.relay_network(
        rl.SRM0(), num_neurons=8, num_latents=4, depth=1, key=jax.random.key(0)
    )
    with pytest.raises(ValueError, match=r"tolerance .* got 0.0"):
        rl.fitted_age_mesh(network, noise(), GRID, 0.0)
    with pytest.raises(ValueError, match=r"increments must have shape \(400, 4\)"):
        rl.fitted_age_mesh(network, noise()[1:], GRID)
    with pytest.raises(ValueError, match=r"must be concrete for fitted_age_mesh"):
        jax.jit(lambda dX: rl.fitted_age_mesh(network, dX, GRID) and dX)(noise())
