"""What runs on a GPU, with its kernels interpreted: the same spikes, and the same rates to rounding."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._density._renewal_problem import initial_state, renewal_problem
from ratelike._density._renewal_term import RenewalTerm
from ratelike._neuron._renewal import stationary_rate
from ratelike._numerics import _platform as platform
from ratelike._numerics._column_scan import ColumnScan
from ratelike._numerics._tile_random import tile_keys
from ratelike._signal import _membrane

pytestmark = pytest.mark.usefixtures("any_ranks")

NUM_NEURONS, GRID = 34, rl.TimeGrid(0.5e-3, 150)
SRM0 = rl.SRM0()
NEURONS = {
    "SRM0": SRM0,
    "diverse": rl.SRM0(tau_m=np.linspace(5e-3, 20e-3, NUM_NEURONS)),
    "sigmoid": rl.SRM0(escape=rl.SigmoidEscape()),
    "LIF": rl.LIF(),
    "adaptive": rl.AdaptiveSRM(),
    "table": rl.SRM0(
        refractory=rl.TableRefractory(-np.exp(-np.arange(100) / 30), age_step=0.5e-3)
    ),
}
MESHES = {"exact": None, "graded": rl.AgeMesh.graded(SRM0)}
# More bins than a thread has registers for.
MESHES["fine"] = rl.AgeMesh.graded(SRM0, 1e-7)
DEAD = rl.SRM0(refractory=rl.ExponentialRefractory(4.0, 10e-3, 4e-3, 100e-3))


@pytest.fixture
def as_on_gpu(monkeypatch):
    """Runs a function as on a GPU, the kernels as loops or interpreted; the scans that ran are in `as_on_gpu.scans`."""

    def run(function, interpret=False, anew=False):
        run.scans = []

        def scan_or_kernel(scan, *arrays):
            run.scans.append(scan)
            if interpret:
                return scan.kernel(*arrays, interpret=True)
            return scan.loop(*arrays)

        if anew:  # diffrax keeps what it has traced
            jax.clear_caches()
        with monkeypatch.context() as patch:
            patch.setattr(platform, "has_gpu", lambda: True)
            patch.setattr(ColumnScan, "__call__", scan_or_kernel)
            found = function()
        if anew:
            jax.clear_caches()
        return found

    return run


def layer_output(neuron, dynamics, recorded):
    """Of one layer, compiled anew."""
    network = rl.relay_network(
        neuron, num_neurons=NUM_NEURONS, num_latents=3, depth=1, key=jax.random.key(0)
    )
    drive = rl.WienerDrive(3, key=jax.random.key(1))
    path = rl.GridPath(drive.increments(GRID), GRID)
    population = network.layers[0].population(None, None)
    keys = tile_keys(jax.random.key(2), NUM_NEURONS)

    @jax.jit
    def run(population, path):
        return dynamics(population, path, GRID, tile_keys=keys, recorded=recorded)

    return run(population, path)


RECORDED = jnp.arange(NUM_NEURONS, dtype=jnp.int32)


def assert_close(here, there, rtol):
    for x, y in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("name", NEURONS)
def test_spikes_are_the_same(as_on_gpu, name):
    def run():
        return layer_output(NEURONS[name], rl.Spiking(), RECORDED)

    here, there = run(), as_on_gpu(run, interpret=name == "LIF")
    assert len(as_on_gpu.scans) == (0 if name == "table" else 1)
    assert_close(here, there, rtol=1e-12)
    assert jnp.any(here.recording.activity > 0.0)


@pytest.mark.parametrize(
    "mesh",
    ["graded", *(pytest.param(n, marks=pytest.mark.slow) for n in ("exact", "fine"))],
)
def test_densities_are_the_same(as_on_gpu, mesh):
    dynamics = rl.GeneralisedRate(rl.AgeShift(MESHES[mesh]))

    def run():
        return layer_output(NEURONS["diverse"], dynamics, RECORDED)

    here, there = run(), as_on_gpu(run, interpret=mesh == "graded", anew=True)
    assert as_on_gpu.scans
    assert_close(here, there, rtol=1e-6)


@pytest.mark.slow
def test_cohorts_within_their_dead_time(as_on_gpu):
    """A queue of seven rows: the whole state after a block of steps."""
    network = rl.relay_network(
        DEAD, num_neurons=NUM_NEURONS, num_latents=3, depth=1, key=jax.random.key(0)
    )
    increments = rl.WienerDrive(3, key=jax.random.key(1)).increments(GRID)
    population = network.layers[0].population(None, None)
    mesh, step = rl.AgeMesh.graded(DEAD), jnp.zeros((), jnp.int32)
    problem = renewal_problem(population, mesh, GRID.dt, increments, 40, None)

    def run():
        @jax.jit
        def one_block(start, problem):
            times = RenewalTerm(), 0.0, 1.0
            return rl.AgeShift(mesh).step(*times, start, problem, step, False)[0]

        return one_block(initial_state(problem), problem)

    here, there = run(), as_on_gpu(run)
    assert as_on_gpu.scans
    assert here.queue is not None
    assert_close(here, there, rtol=1e-6)


@pytest.mark.parametrize("name", ["sigmoid"])
def test_conventional_rates_are_the_same(as_on_gpu, name):
    def run():
        return layer_output(NEURONS[name], rl.ConventionalRate(), RECORDED)

    here, there = run(), as_on_gpu(run)
    assert as_on_gpu.scans
    assert_close(here, there, rtol=1e-6)


SHORT = rl.SRM0(refractory=rl.ExponentialRefractory(4.0, 4e-3, 3e-3, 40e-3))


@pytest.mark.parametrize(
    ("mesh", "interpret"),
    [
        (None, False),
        pytest.param(rl.AgeMesh.graded(SHORT, 1e-2), True, marks=pytest.mark.slow),
    ],
)
def test_derivatives_by_everything(as_on_gpu, mesh, interpret):
    """A tile of forty ages, and rows with a queue: the derivative of a step, from the last to the first."""
    dynamics = rl.GeneralisedRate(rl.AgeShift(mesh))
    network = rl.relay_network(
        SHORT, num_neurons=3, num_latents=1, depth=1, key=jax.random.key(0)
    )
    grid = rl.TimeGrid(1e-3, 50)
    drive = rl.WienerDrive(1, key=jax.random.key(1))
    path = rl.GridPath(drive.increments(grid), grid)
    arrays, rest = eqx.partition(network.layers[0], eqx.is_inexact_array)

    def slopes():
        def loss(arrays):
            population = eqx.combine(arrays, rest).population(None, None)
            output = dynamics(population, path, grid, tile_keys=None)
            return jnp.sum(jnp.sin(output.decoded.columns))

        return jax.jit(jax.grad(loss))(arrays)

    here, there = slopes(), as_on_gpu(slopes, interpret, anew=True)
    assert as_on_gpu.scans[-1].is_reversed
    assert jnp.any(here.neuron.refractory.amplitude != 0.0)
    assert_close(here, there, rtol=1e-8)


def test_traces_by_doubling():
    increments = jax.random.normal(jax.random.key(0), (77, 3))
    leak = _membrane.leak_of(jnp.asarray([5e-3, 10e-3, 40e-3]), 1e-3)
    start = jnp.asarray([0.3, -1.0, 2.0])
    by_steps = _membrane._traces_by_steps(start, increments, leak)
    by_doubling = _membrane._traces_by_doubling(start, increments, leak)
    np.testing.assert_allclose(by_doubling, by_steps, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["SRM0", "diverse", "LIF", "adaptive"])
def test_stationary_rate_at_all_ages(as_on_gpu, name):
    potential = jnp.linspace(-3.0, 4.0, NUM_NEURONS)

    neuron = NEURONS[name]

    def run():
        rate = stationary_rate.__wrapped__
        return jax.jit(lambda h: rate(neuron, h, 1e-3))(potential)

    np.testing.assert_allclose(as_on_gpu(run), run(), rtol=1e-10)
