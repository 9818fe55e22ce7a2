"""Cohorts of age: the schedule against sets of births, and the accuracy of graded meshes."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._density._age_mesh import AgeMesh
from ratelike._density._merge_schedule import MergeSchedule

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

NEURON = rl.SRM0()
GRADED = AgeMesh.graded(NEURON, 1e-2)


def follow(schedule: MergeSchedule, num_steps: int):
    """Yields what each slot holds, as sets of birth steps, following the merges one by one."""
    slots = [set() for _ in range(schedule.num_bins)]
    times = jnp.arange(1, num_steps + 1, dtype=jnp.int32)
    merges = jax.tree.map(np.asarray, schedule.merge(times, jnp.float64))
    for step in range(num_steps):
        merge = jax.tree.map(lambda x: x[step], merges)  # noqa: B023
        assert merge.step == step
        moved = slots[merge.source]
        slots[merge.target] |= moved
        entering = step - schedule.dead
        slots[merge.source] = {entering} if entering >= 0 else set()
        yield step + 1, slots, merge, moved


MESHES = [AgeMesh.uniform(), GRADED, AgeMesh.graded(rl.SRM0(), 1e-4)]


@pytest.mark.parametrize("dead", [0, 3])
@pytest.mark.parametrize("memory", [1, 2, 7, 100, 200, 400])
@pytest.mark.parametrize("mesh", MESHES)
def test_cohorts_are_unbroken_and_join_the_last_bin_at_the_memory(mesh, memory, dead):
    schedule = mesh.schedule(memory, dead, 0.1 / memory)
    assert schedule.dead == (dead if schedule.num_levels > 1 else 0)
    widest = 2 ** (schedule.num_levels - 1)
    for time, slots, merge, moved in follow(schedule, 3 * memory + 8 * widest):
        for cohort in slots[:-1]:
            if cohort:
                assert max(cohort) - min(cohort) == len(cohort) - 1
                assert np.log2(len(cohort)) % 1 == 0
        if merge.target == schedule.num_bins - 1 and moved:
            mean_age = time - 1 - np.mean(list(moved))
            assert abs(mean_age - memory) <= widest
            if mesh.widths is None:
                assert mean_age == memory
    held = set().union(*slots)
    assert held == set(range(time - schedule.dead)), "every birth is somewhere, once"
    assert sum(map(len, slots)) == time - schedule.dead
    assert all(slots), "no slot is ever empty, once all have been filled"


@pytest.mark.parametrize("memory", [7, 100, 400])
@pytest.mark.parametrize("mesh", MESHES)
def test_ages_are_those_of_the_cohorts(mesh, memory):
    """Of all slots once they are full, and of the pair that merges."""
    dead = 4
    schedule = mesh.schedule(memory, dead, 0.1 / memory)
    start, end = 2 * memory, 2 * memory + 300
    times = jnp.arange(end + 1, dtype=jnp.int32)
    means, deviations = map(np.asarray, schedule.ages(times, jnp.float64))
    last = schedule.num_bins - 1
    np.testing.assert_array_equal(means[:, last], memory)
    np.testing.assert_array_equal(deviations[:, last], 0.0)
    before: list[set[int]] = []
    for time, slots, merge, _ in follow(schedule, end):
        ages = [time - 1 - np.array(sorted(cohort)) for cohort in slots[:-1]]
        if time > start:
            np.testing.assert_allclose(means[time, :last], [a.mean() for a in ages])
            np.testing.assert_allclose(deviations[time, :last], [a.std() for a in ages])
            if merge.target != last:
                source, target = before[merge.source], before[merge.target]
                both = np.std(list(source | target))
                np.testing.assert_allclose(merge.deviation, np.std(list(target)) / both)
                apart = np.mean(list(source)) - np.mean(list(target))
                np.testing.assert_allclose(merge.distance, apart / both)
        if time >= start:
            before = [set(cohort) for cohort in slots]
    queued = np.asarray(schedule.ages_in_queue(times, jnp.float64))
    assert queued.shape[1] == schedule.dead
    for row in range(schedule.dead):
        assert 0 <= queued[:, row].min() <= queued[:, row].max() == dead - 1
        births = np.asarray(times) - 1 - queued[:, row]
        np.testing.assert_array_equal(births % dead, row)


def test_a_uniform_mesh_has_one_bin_per_step_and_a_graded_one_far_fewer():
    assert AgeMesh.uniform().schedule(200, 4, 0.5e-3).num_bins == 201
    assert AgeMesh.graded(NEURON).schedule(200, 4, 0.5e-3).num_bins == 16
    assert AgeMesh.graded(NEURON).schedule(400, 8, 0.25e-3).num_bins <= 20


def outputs(network, increments, grid, mesh=None):
    dynamics = rl.GeneralisedRate(rl.AgeShift(mesh))
    return np.asarray(rl.simulate(network, increments, grid, dynamics).outputs)


@pytest.mark.parametrize(
    "neuron",
    [
        NEURON,
        pytest.param(
            rl.SRM0(
                refractory=rl.ExponentialRefractory(
                    2.0, 20e-3, dead_time=8e-3, memory=0.1
                )
            ),
            marks=pytest.mark.slow,
        ),
        rl.LIF(),
    ],
    ids=["default", "long dead time", "LIF"],
)
def test_the_tolerance_is_about_the_error_of_one_layer(neuron):
    grid = rl.TimeGrid(0.5e-3, 600)
    network = rl.relay_network(
        neuron, num_neurons=64, num_latents=4, depth=1, key=jax.random.key(0)
    )
    increments = rl.WienerDrive(4, key=jax.random.key(1)).increments(grid)
    exact = outputs(network, increments, grid)[200:]
    size = np.abs(exact).mean()
    errors = []
    for tolerance in (1e-2, 1e-3, 1e-4):
        mesh = AgeMesh.graded(neuron, tolerance)
        error = np.abs(outputs(network, increments, grid, mesh)[200:] - exact).mean()
        errors.append(error / size)
        assert error / size < 2.0 * tolerance
    assert errors[2] < errors[0] / 3.0


@pytest.mark.parametrize("delay", [None, 2e-3], ids=["feedforward", "feedback"])
@pytest.mark.parametrize(
    "dead_times", [(0.0, 2e-3, 5e-3), (1e-3, 3e-3, 6e-3), (4e-3, 4e-3, 6e-3)]
)
def test_neurons_of_different_dead_times(dead_times, delay):
    """No refractory queue; one of one step; one of more steps than feedback lets be in a block."""
    kernel = rl.ExponentialRefractory(5.0, 20e-3, dead_time=dead_times, memory=0.1)
    neuron, draw = rl.SRM0(refractory=kernel), np.random.default_rng(0).normal
    encoder, grid = draw(size=(3, 2)), rl.TimeGrid(1e-3, 300)
    feedback = None if delay is None else rl.Feedback(encoder, 0.01 * encoder, delay)
    network = rl.Network([rl.Layer(neuron, encoder, encoder, 1.0, feedback)])
    increments = rl.WienerDrive(2, key=jax.random.key(1)).increments(grid)
    mesh = AgeMesh.graded(neuron, 1e-4)
    shortest = round(min(dead_times) * 1e3)
    assert mesh.schedule(100, shortest, 1e-3).dead == shortest
    exact, graded = (outputs(network, increments, grid, m) for m in (None, mesh))
    assert np.abs(graded - exact).mean() < 2e-4 * np.abs(exact).mean()


def test_a_graded_mesh_conserves_probability_and_gives_gradients():
    grid = rl.TimeGrid(1e-3, 250)
    network = rl.relay_network(
        NEURON, num_neurons=4, num_latents=2, depth=1, key=jax.random.key(0)
    )
    increments = rl.WienerDrive(2, key=jax.random.key(1)).increments(grid)

    def total(t, density, args):
        masses = density.age_distribution
        ordered = jnp.all(
            jnp.diff(density.age) >= -1e-12
        )  # a fused multiply-add rounds
        return masses.sum(axis=0), masses.min(), ordered

    dynamics = rl.GeneralisedRate(
        rl.AgeShift(GRADED), saveat=diffrax.SaveAt(steps=True, fn=total)
    )
    _, saved = rl.simulate(network, increments, grid, dynamics).saved[0]
    mass, smallest, ordered = saved
    np.testing.assert_allclose(mass, 1.0, rtol=1e-12)
    assert smallest.min() >= 0.0
    assert ordered.all()

    def loss(scale):
        y = rl.simulate(
            network, scale * increments, grid, rl.GeneralisedRate(rl.AgeShift(GRADED))
        ).outputs
        return jnp.mean(y**2)

    one = jnp.asarray(1.0)
    difference = (loss(one + 1e-5) - loss(one - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(loss)(one), difference, rtol=1e-6)


@pytest.mark.parametrize(
    "neuron",
    [pytest.param(NEURON, marks=pytest.mark.slow), rl.LIF()],
    ids=["SRM0", "LIF"],
)
def test_gradients_stay_finite_where_no_mass_is_left(neuron):
    """Means over the mass of a cohort, of which hardly any is left for some neurons, in a batch and alone."""
    dynamics = rl.GeneralisedRate(rl.AgeShift(AgeMesh.graded(neuron, 1e-2)))
    neuron = jax.tree.map(lambda x: x.astype(jnp.float32), neuron)
    ones, bias = jnp.ones((3, 1), jnp.float32), [-1e2, 0.5, 20.0]
    increments = jnp.full((150, 1), 1e-2, jnp.float32)

    def response(bias):
        layer = rl.Layer(neuron, ones, ones, bias.astype(jnp.float32))
        return rl.simulate(
            rl.Network([layer]), increments, rl.TimeGrid(1e-3, 150), dynamics
        ).outputs

    bias = jnp.stack([jnp.asarray(bias), jnp.asarray(bias) + 1.0])
    slopes = jax.grad(lambda bias: jnp.sum(response(bias)))(bias[0])
    assert np.isfinite(slopes).all()
    assert slopes[1] > 0.0
    batch = jax.jit(jax.vmap(response))(bias)
    np.testing.assert_array_equal(batch[0], response(bias[0]))
    np.testing.assert_array_equal(batch[1], response(bias[1]))


@pytest.mark.parametrize("neuron", [NEURON, rl.LIF()], ids=["SRM0", "LIF"])
@pytest.mark.parametrize("tolerance", [None, 1e-2], ids=["exact", "graded"])
def test_a_batch_of_densities_changes_no_bit(tolerance, neuron):
    """Over several blocks, each of which begins with masses divided by their sum."""
    num_neurons = 128
    mesh = AgeMesh.uniform() if tolerance is None else AgeMesh.graded(neuron, tolerance)
    neuron = jax.tree.map(lambda x: x.astype(jnp.float32), neuron)
    ones = jnp.ones((num_neurons, 1), jnp.float32)
    biases = [np.linspace(-3.0, highest, num_neurons) for highest in (20.0, 5.0)]
    biases = jnp.asarray(np.stack(biases), jnp.float32)

    def activity(bias):
        return (
            rl.simulate(
                rl.Network([rl.Layer(neuron, ones, ones, bias)]),
                jnp.zeros((60, 1), jnp.float32),
                rl.TimeGrid(1e-3, 60),
                rl.GeneralisedRate(rl.AgeShift(mesh)),
                record={0: range(num_neurons)},
            )
            .recordings[0]
            .activity
        )

    batch = jax.jit(jax.vmap(activity))(biases)
    for alone, together in zip(biases, batch, strict=True):
        np.testing.assert_array_equal(together, activity(alone))


@pytest.mark.parametrize("tolerance", [0.0, -1.0, np.nan])
def test_bad_tolerance(tolerance):
    with pytest.raises(ValueError, match=r"AgeMesh\.tolerance"):
        AgeMesh.graded(NEURON, tolerance)


def test_a_neuron_that_is_being_traced_has_no_mesh():
    with pytest.raises(ValueError, match=r"AgeMesh\.neuron must be concrete"):
        jax.jit(lambda tau_m: AgeMesh.graded(rl.SRM0(tau_m)) and tau_m)(1e-2)


@pytest.mark.parametrize("neuron", [rl.SRM0, rl.LIF])
def test_within_jit_a_mesh_of_known_numbers_is_the_one_of_outside(neuron):
    outside, inside = AgeMesh.graded(neuron(), 1e-2), []
    jax.jit(lambda x: inside.append(AgeMesh.graded(neuron(), 1e-2)) or x)(1.0)
    assert inside == [outside]
