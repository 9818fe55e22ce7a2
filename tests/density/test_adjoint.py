"""The adjoint of the renewal equation, against diffrax's adjoint of the solver's steps."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._density import _adjoint
from ratelike._numerics._exponential import exp_up_to_4

pytestmark = pytest.mark.usefixtures("any_ranks")

OURS = rl.GeneralisedRate()
THEIRS = rl.GeneralisedRate(adjoint=diffrax.RecursiveCheckpointAdjoint())
GRID = rl.TimeGrid(1e-3, 68)  # 5 blocks of 14 steps, the last one not full


def neuron(tau_m, threshold, amplitude, dtype=jnp.float64):
    """A memory of 15 steps: longer than a block, shorter than the run."""
    values = rl.SRM0(
        tau_m,
        rl.ExponentialEscape(rate=50.0, threshold=threshold),
        rl.ExponentialRefractory(amplitude, 4e-3, 2e-3, memory=15e-3),
    )
    return jax.tree.map(lambda x: x.astype(dtype), values)


def values(seed=0, neurons=5):
    """Encoders, decoders, biases and parameters of two layers of different neurons, and a drive."""
    draw = np.random.default_rng(seed).normal
    return {
        "encoder": draw(size=(2, neurons, 2)),
        "decoder": draw(size=(2, neurons, 2)) / neurons,
        "bias": 0.5 * draw(size=(2, neurons)) - 1.0,
        "tau_m": np.linspace(5e-3, 20e-3, neurons),
        "threshold": np.linspace(0.5, 1.5, neurons),
        "amplitude": np.asarray(3.0),
        "increments": 0.004 * draw(size=(GRID.num_steps, 2)),
    }


def loss(values, dynamics, dtype=jnp.float64):
    values = jax.tree.map(lambda x: jnp.asarray(x, dtype), values)
    parameters = [values[name] for name in ("tau_m", "threshold", "amplitude")]
    layers = zip(values["encoder"], values["decoder"], values["bias"], strict=True)
    network = rl.Network([rl.Layer(neuron(*parameters, dtype), *x) for x in layers])
    outputs = rl.simulate(network, values["increments"], GRID, dynamics).outputs
    return jnp.sum(jnp.sin(outputs))


slopes = jax.jit(jax.grad(loss), static_argnums=(1, 2))


def assert_close(ours, theirs, rtol):
    for name, mine in ours.items():
        scale = np.abs(theirs[name]).max()
        np.testing.assert_allclose(
            mine, theirs[name], rtol=0, atol=rtol * scale, err_msg=name
        )


# With a bias of 4 hardly any mass survives a step, with 60 none.
@pytest.mark.slow
@pytest.mark.parametrize("bias", [0.0, 4.0, 60.0])
def test_derivatives_of_two_layers_by_everything(bias):
    point = values()
    point["bias"][0, 0] += bias
    assert_close(slopes(point, OURS), slopes(point, THEIRS), 1e-10)


@pytest.mark.parametrize("backwards", [True, False])
def test_both_ways_through_a_block(monkeypatch, backwards):
    """Each by itself, where both are accurate."""

    def one_way(condition, if_true, if_false):
        return if_true if backwards else if_false

    monkeypatch.setattr(_adjoint, "batch_cond", one_way)
    # Other dynamics, so that nothing comes from a cache.
    dynamics = rl.GeneralisedRate(max_steps=1000 + backwards)
    point = values(seed=1)
    assert_close(slopes(point, dynamics), slopes(point, THEIRS), 1e-10)


def test_in_float32():
    point = values()
    assert_close(slopes(point, OURS, jnp.float32), slopes(point, THEIRS), 1e-5)


@pytest.mark.parametrize("bias", [-60.0, -1000.0], ids=["hardly", "never"])
def test_of_a_neuron_that_fires(bias):
    """kappa_0 comes from a division by the mass that fires: 10^-28 in a step at a bias of -60, none at -1000."""
    point = values()
    point["bias"][0, 0] = bias
    ours, theirs = slopes(point, OURS, jnp.float32), slopes(point, THEIRS)
    assert_close(ours, theirs, 1e-5)
    for name in ("bias", "encoder", "decoder"):
        np.testing.assert_allclose(ours[name][0, 0], theirs[name][0, 0], rtol=1e-4)


@pytest.mark.slow
def test_in_a_batch():
    """The adjoint equation serves some of its members and not the others; also a batch of batches."""
    point = values()
    biases = jnp.asarray(point["bias"]) + jnp.asarray([0.0, 60.0])[:, None, None]

    def slope(bias):
        return slopes(point | {"bias": bias}, OURS)["bias"]

    alone = [slopes(point | {"bias": bias}, THEIRS)["bias"] for bias in biases]
    np.testing.assert_allclose(jax.vmap(slope)(biases), alone, rtol=1e-9, atol=1e-12)
    batches = jax.vmap(jax.vmap(slope))(biases[None])
    np.testing.assert_allclose(batches[0], alone, rtol=1e-9, atol=1e-12)


def test_a_single_step():
    grid = rl.TimeGrid(1e-3, 1)

    def outputs(bias, dynamics):
        layer = rl.Layer(neuron(10e-3, 1.0, 3.0), jnp.eye(3), jnp.eye(3), bias)
        increments = jnp.ones((1, 3)) * 1e-2
        return rl.simulate(rl.Network([layer]), increments, grid, dynamics).outputs

    bias = jnp.asarray([-1.0, 0.5, 2.0])
    derivatives = jax.jit(jax.jacrev(outputs), static_argnums=1)
    ours, theirs = (derivatives(bias, dynamics) for dynamics in (OURS, THEIRS))
    np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1.2e-6), (float, 1e-14)])
def test_exponentials(dtype, tolerance):
    x = np.linspace(0.0, 4.0, 100_001).astype(dtype)
    up = exp_up_to_4(jnp.asarray(x))
    np.testing.assert_allclose(up, np.exp(x.astype(float)), rtol=tolerance)


# Blocks are of 9 steps where the memory is shorter.
@pytest.mark.parametrize("memory", [3e-3, 8e-3, 9e-3])
def test_of_a_memory_shorter_than_a_block(memory):
    """Neurons are born and reach the last bin within one block: central differences, of error 10^-8 of the slope."""
    draw = np.random.default_rng(0).normal
    increments, weights = 0.01 * draw(size=(GRID.num_steps, 1)), abs(draw(size=(68, 1)))
    kernel = rl.ExponentialRefractory(3.0, 3e-3, 2e-3, memory)

    def loss(bias):
        escape = rl.ExponentialEscape(rate=50.0)
        layer = rl.Layer(rl.SRM0(5e-3, escape, kernel), [[1.0]], [[1e-2]], bias)
        run = rl.simulate(rl.Network([layer]), increments, GRID, OURS)
        return jnp.vdot(jnp.asarray(weights), run.outputs)

    evaluate = jax.jit(jax.value_and_grad(loss))
    bias, step = jnp.asarray([0.7]), 1e-5
    slope = float(evaluate(bias)[1][0])
    ends = [float(evaluate(bias + sign * step)[0]) for sign in (1.0, -1.0)]
    central = (ends[0] - ends[1]) / (2.0 * step)
    assert abs(central) > 1.0
    np.testing.assert_allclose(slope, central, rtol=1e-6)
