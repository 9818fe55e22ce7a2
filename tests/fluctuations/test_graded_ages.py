"""Fluctuations on graded age meshes: against exact ages, and their own derivative against that of plain steps."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._fluctuations._block import Readout, run_block
from ratelike._fluctuations._cohort_blocks import run_cohorts
from ratelike._fluctuations._cohorts import aging, merge_schedule
from ratelike._fluctuations._default_mesh import age_mesh_of
from ratelike._fluctuations._layer import layer_fluctuations
from tests.oracles import networks, systems
from tests.oracles.networks import white_noise

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

EXACT = rl.AgeMesh.uniform()
NEURONS = {
    "default": rl.SRM0(),
    "alpha": rl.SRM0(refractory=rl.AlphaRefractory(5.0, 10e-3, 2e-3, 100e-3)),
    "strong": rl.SRM0(refractory=rl.ExponentialRefractory(20.0, 20e-3, 2e-3, 200e-3)),
    "short": rl.SRM0(refractory=rl.ExponentialRefractory(5.0, 5e-3, 0.0, 60e-3)),
    "softplus": rl.SRM0(escape=rl.SoftplusEscape()),
}


def layer_of(neuron, num_neurons=40, num_latents=4):
    return networks.relay(neuron, num_neurons, num_latents, 1).layers[0]


@pytest.mark.parametrize("name", NEURONS)
def test_the_default_is_right_to_one_in_a_thousand(name):
    """The variance of outputs that read forty neurons; with bins twice as wide the error is 2 to 10 times larger."""
    layer, grid, increments = layer_of(NEURONS[name]), rl.TimeGrid(1e-3, 300), white_noise(300)  # fmt: skip
    exact = rl.readout_variance(layer, increments, grid, age_mesh=EXACT)[20:]
    graded = rl.readout_variance(layer, increments, grid)[20:]
    error = np.sqrt(np.mean((graded / exact - 1.0) ** 2))
    assert 0.0 < error < 1e-3, error


def plain(layer, increments, grid, readout, schedule):
    """By steps that know nothing of blocks, of which JAX takes the derivative."""
    steps = jnp.arange(grid.num_steps, dtype=jnp.int32)
    agings = aging(schedule, steps, increments.dtype)
    return run_block(layer, increments, None, grid, None, readout, agings)


def test_blocks_and_their_adjoint_are_the_plain_steps_and_their_derivative():
    """Under input so strong that mean ages leave the nodes, where masses are kept from becoming negative."""
    grid, increments = rl.TimeGrid(1e-3, 90), 3.0 * white_noise(90)
    layer = layer_of(NEURONS["short"], 6)
    schedule = merge_schedule(age_mesh_of(None, layer.neuron, grid.dt), layer.neuron, grid.dt)  # fmt: skip
    generator = np.random.default_rng(0)
    weights = jnp.asarray(generator.normal(size=(2, 90, 4)))

    def value(run, layer, increments, tau_m):
        readout = Readout(tau_m, layer.decoder**2)
        outputs = run(layer, increments, grid, readout, schedule)
        return jnp.sum(weights[0] * outputs.increments + weights[1] * outputs.variance)

    arguments = layer, increments, jnp.asarray(7e-3)
    ours, theirs = [
        jax.value_and_grad(functools.partial(value, run), (0, 1, 2))(*arguments)
        for run in (run_cohorts, plain)
    ]
    for own, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(own, other, rtol=1e-8, atol=1e-9 * scale)


@pytest.mark.parametrize("batched", ["input", "network"])
def test_a_batch_is_as_its_members(batched):
    layer, grid = layer_of(NEURONS["default"], 30), rl.TimeGrid(1e-3, 40)
    inputs = jnp.stack([white_noise(40), 2.0 * white_noise(40)])
    layers = jax.tree.map(lambda x: jnp.stack([x, 1.1 * x]), layer)

    def gradient(layer, increments):
        def total(layer):
            return jnp.sum(rl.readout_variance(layer, increments, grid))

        return jax.grad(total)(layer)

    if batched == "input":
        batch = jax.vmap(lambda x: gradient(layer, x))(inputs)
        members = [gradient(layer, x) for x in inputs]
    else:
        batch = jax.vmap(lambda x: gradient(x, inputs[0]))(layers)
        of_index = [jax.tree.map(lambda x, i=i: x[i], layers) for i in range(2)]
        members = [gradient(x, inputs[0]) for x in of_index]
    for index, member in enumerate(members):
        for own, other in zip(jax.tree.leaves(batch), jax.tree.leaves(member), strict=True):  # fmt: skip
            scale = np.abs(other).max()
            np.testing.assert_allclose(own[index], other, rtol=1e-9, atol=1e-10 * scale)


def test_probes_answer_as_with_exact_ages():
    """The error of the mesh (10^-3); an answer that forgot how ages merge would be off by a tenth."""
    layer = layer_of(NEURONS["default"])
    grid, increments = rl.TimeGrid(1e-3, 200), white_noise(200)
    probes = 0.01 * jax.random.normal(jax.random.key(2), (200, 2, 4))
    mesh = age_mesh_of(None, layer.neuron, grid.dt)
    options = dict(noise=None, readout=None, workers=None)
    arguments = layer, increments, probes, grid
    ours = layer_fluctuations(*arguments, age_mesh=mesh, **options)
    exact = layer_fluctuations(*arguments, age_mesh=EXACT, **options)
    error = np.linalg.norm(ours.probes - exact.probes) / np.linalg.norm(exact.probes)
    assert 0.0 < error < 3e-3, error


@pytest.mark.slow
def test_the_noise_of_probes_has_the_exact_variance():
    """The predicted error of two layers, with ages of both kinds: within the spread of 64 probes (3%, four times)."""
    network, grid, increments = networks.relay(rl.SRM0(), 60, 4, 2), rl.TimeGrid(1e-3, 150), white_noise(150)  # fmt: skip
    options = dict(burn_in=20, num_probes=64, key=jax.random.key(0))
    graded = rl.expected_error(network, increments, grid, **options)
    exact = rl.expected_error(network, increments, grid, **options, age_mesh=EXACT)
    assert abs(graded / exact - 1.0) < 0.12, (graded, exact)


def test_where_ages_are_exact_without_being_asked_for():
    """Neurons with marks; and memories so short that nothing is saved."""
    reset = systems.ResetNeuron(jnp.asarray(5e-3), rl.ExponentialEscape(rate=60.0), -2.0, 100e-3)  # fmt: skip
    short = rl.SRM0(refractory=rl.ExponentialRefractory(5.0, 5e-3, 2e-3, 12e-3))
    for neuron in (reset, short, rl.SRM0(refractory=rl.NoRefractory())):
        assert age_mesh_of(None, neuron, 1e-3) == EXACT
    assert age_mesh_of(rl.AgeMesh.graded(rl.SRM0()), reset, 1e-3) == EXACT
    assert age_mesh_of(None, rl.SRM0(), 1e-3) != EXACT
    # The same whether parameters are known or not.
    traced = eqx.filter_eval_shape(rl.SRM0)
    assert age_mesh_of(None, traced, 1e-3) == age_mesh_of(None, rl.SRM0(), 1e-3)
    with pytest.raises(ValueError, match="age_mesh must be an instance of AgeMesh"):
        rl.readout_variance(layer_of(rl.SRM0()), white_noise(5), rl.TimeGrid(1e-3, 5), age_mesh=1e-3)  # fmt: skip
