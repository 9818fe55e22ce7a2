"""The adjoint of the graded mesh, against diffrax's adjoint of the solver's steps and against differences."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._density import _grid_scheme

pytestmark = pytest.mark.usefixtures("any_ranks")

GRID = rl.TimeGrid(1e-3, 130)  # blocks of 22 steps, the last one not full
NEURONS = 5


def neuron(dead_time=2e-3):
    return rl.SRM0(
        np.linspace(5e-3, 20e-3, NEURONS),
        rl.ExponentialEscape(rate=50.0, threshold=np.linspace(0.5, 1.5, NEURONS)),
        rl.ExponentialRefractory(3.0, 10e-3, dead_time, memory=60e-3),
    )


def graded(dead_time=2e-3, **options):
    mesh = rl.AgeMesh.graded(neuron(dead_time), tolerance=1e-2)
    return rl.GeneralisedRate(rl.AgeShift(mesh), **options)


def values(seed=0):
    """Encoders, decoders, biases and parameters of two layers of different neurons, and a drive."""
    draw = np.random.default_rng(seed).normal
    return {
        "encoder": draw(size=(2, NEURONS, 2)),
        "decoder": draw(size=(2, NEURONS, 2)) / NEURONS,
        "bias": 0.5 * draw(size=(2, NEURONS)) - 1.0,
        "tau_m": np.linspace(5e-3, 20e-3, NEURONS),
        "threshold": np.linspace(0.5, 1.5, NEURONS),
        "amplitude": np.asarray(3.0),
        "tau": np.asarray(10e-3),
        "increments": 0.004 * draw(size=(GRID.num_steps, 2)),
    }


def loss(values, dynamics, dead_time=2e-3, dtype=jnp.float64):
    values = jax.tree.map(lambda x: jnp.asarray(x, dtype), values)

    def parameters(n):
        return [n.tau_m, n.escape.threshold, n.refractory.amplitude, n.refractory.tau]

    names = ("tau_m", "threshold", "amplitude", "tau")
    cell = jax.tree.map(lambda x: x.astype(dtype), neuron(dead_time))
    cell = eqx.tree_at(parameters, cell, [values[name] for name in names])
    layers = zip(values["encoder"], values["decoder"], values["bias"], strict=True)
    network = rl.Network([rl.Layer(cell, *x) for x in layers])
    outputs = rl.simulate(network, values["increments"], GRID, dynamics).outputs
    return jnp.sum(jnp.sin(outputs))


slopes = jax.jit(jax.grad(loss), static_argnums=(1, 2, 3))


def assert_close(ours, theirs, rtol):
    for name, mine in ours.items():
        scale = np.abs(theirs[name]).max()
        np.testing.assert_allclose(
            mine, theirs[name], rtol=0, atol=rtol * scale, err_msg=name
        )


# With a bias of 6 one hazard differs by more than 1 / dt within a cohort, with 60 no mass survives a step.
@pytest.mark.parametrize(
    ("dead_time", "bias"),
    [
        pytest.param(0.0, 0.0, marks=pytest.mark.slow),
        (2e-3, 6.0),
        pytest.param(4e-3, 0.0, marks=pytest.mark.slow),
        pytest.param(2e-3, 60.0, marks=pytest.mark.slow),
    ],
)
def test_derivatives_of_two_layers_by_everything(dead_time, bias):
    point = values()
    point["bias"][0, 0] += bias
    theirs = graded(dead_time, adjoint=diffrax.RecursiveCheckpointAdjoint())
    assert_close(
        slopes(point, graded(dead_time), dead_time),
        slopes(point, theirs, dead_time),
        1e-10,
    )


@pytest.mark.slow
def test_in_float32():
    ours = slopes(values(), graded(), 2e-3, jnp.float32)
    assert_close(ours, slopes(values(), graded()), 2e-5)


@pytest.mark.parametrize("name", ["bias", "amplitude"])
def test_central_differences(name):
    point, step = values(), 1e-5
    slope = jnp.sum(slopes(point, graded())[name])
    evaluate = jax.jit(loss, static_argnums=1)
    high, low = (
        evaluate(point | {name: point[name] + sign * step}, graded())
        for sign in (1.0, -1.0)
    )
    np.testing.assert_allclose(slope, (high - low) / (2.0 * step), rtol=1e-6)


# Of the batch: all inputs at once; and two at once, the last of five alone.
@pytest.mark.parametrize(
    "at_once", [pytest.param(4096, marks=pytest.mark.slow), 2 * NEURONS]
)
@pytest.mark.parametrize("mesh", ["graded", "exact"])
def test_several_inputs_side_by_side(monkeypatch, at_once, mesh):
    monkeypatch.setattr(_grid_scheme, "chunk_size", lambda *_: at_once)
    # Other dynamics, so that nothing comes from a cache.
    solver = graded().solver if mesh == "graded" else rl.AgeShift()
    dynamics = rl.GeneralisedRate(solver, max_steps=1000 + at_once)
    point = values()
    increments = jnp.stack([values(seed)["increments"] for seed in range(5)])
    trained = {name: point[name] for name in ("encoder", "decoder", "bias")}

    def of_input(trained, increments):
        return loss(point | trained | {"increments": increments}, dynamics)

    each = jax.jit(jax.vmap(jax.value_and_grad(of_input), (None, 0)))
    one = jax.jit(jax.value_and_grad(of_input))
    alone = [one(trained, x) for x in increments]
    losses, derivatives = each(trained, increments)
    np.testing.assert_allclose(losses, [x for x, _ in alone], rtol=1e-13)
    for name, mine in derivatives.items():
        expected = np.stack([slope[name] for _, slope in alone])
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-12)


def test_parameters_of_neurons_and_several_inputs():
    increments = jnp.stack([values(seed)["increments"] for seed in range(3)])
    dynamics = graded()

    def of_all(amplitude):
        def of_input(x):
            point = values() | {"increments": x, "amplitude": amplitude}
            return loss(point, dynamics)

        return jnp.sum(jax.vmap(of_input)(increments))

    alone = [slopes(values() | {"increments": x}, dynamics) for x in increments]
    expected = sum(slope["amplitude"] for slope in alone)
    np.testing.assert_allclose(jax.jit(jax.grad(of_all))(3.0), expected, rtol=1e-10)
