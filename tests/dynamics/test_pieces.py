"""A run in pieces is the whole run; a stationary state is one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from ratelike._neuron._settled import settled_ages

pytestmark = pytest.mark.usefixtures("any_ranks")

DT = 1e-3
STEPS = 130  # more than two blocks of the density
CUTS = (
    1,
    8,
    50,
    93,
)  # at the end of a block of the density, and within blocks of all kinds
KEY = jax.random.key(3)

GRADED = rl.AgeShift(rl.AgeMesh.graded(rl.SRM0()))
DYNAMICS = {
    "spiking": rl.Spiking(),
    "exact": rl.GeneralisedRate(),
    "graded": rl.GeneralisedRate(GRADED),
    "conventional": rl.ConventionalRate(),
}


def feedforward(num_neurons=70, depth=2, neuron=None, make=rl.relay_network):
    neuron = rl.SRM0() if neuron is None else neuron
    return make(
        neuron,
        num_neurons=num_neurons,
        num_latents=2,
        depth=depth,
        key=jax.random.key(0),
    )


def recurrent(num_neurons=70, delays=(3e-3, 11e-3)):
    layer = feedforward(num_neurons, depth=1).layers[0]
    draw = functools.partial(jax.random.normal, shape=(num_neurons, 2))
    loops = []
    for index, delay in enumerate(delays):
        keys = jax.random.split(jax.random.key(index), 2)
        decoder = 0.1 * draw(keys[1])
        synapse = rl.AlphaSynapse(4e-3) if index else None
        loops.append(rl.Feedback(draw(keys[0]), decoder, delay, synapse=synapse))
    synapse = [rl.Delay(2e-3), rl.ExponentialSynapse(5e-3)]
    return rl.Network(
        [
            rl.Layer(
                layer.neuron,
                layer.encoder,
                layer.decoder,
                layer.bias,
                loops,
                synapse=synapse,
            )
        ]
    )


def drive():
    return rl.WienerDrive(2, key=jax.random.key(1))


def in_pieces(network, dynamics, cuts=CUTS, increments=None, **options):
    """Each piece, by itself; the drive knows when it is."""
    increments = drive() if increments is None else increments
    pieces, state, start = [], None, 0
    for end in (*cuts, STEPS):
        own = increments
        if not isinstance(increments, rl.WienerDrive):
            own = increments[start:end]
        grid = rl.TimeGrid(DT, end - start)
        piece = rl.simulate(
            network, own, grid, dynamics, initial=state, keep_final=True, **options
        )
        pieces.append(piece)
        state, start = piece.final, end
    return pieces


def assert_whole(network, dynamics, cuts=CUTS, **options):
    if isinstance(dynamics, rl.Spiking):
        options["key"] = KEY
    record = {0: [0, 5]}
    options["record"] = record
    whole = rl.simulate(network, drive(), rl.TimeGrid(DT, STEPS), dynamics, **options)
    pieces = in_pieces(network, dynamics, cuts, **options)

    def together(get, axis):
        return np.concatenate([get(piece) for piece in pieces], axis)

    assert np.ptp(np.asarray(whole.outputs)) > 0.0
    for get, axis in (
        (lambda t: t.outputs, 0),
        (lambda t: t.rates, 1),
        (lambda t: t.increments, 1),
        (lambda t: t.recordings[0].activity, 0),
        (lambda t: t.recordings[0].potential, 0),
    ):
        np.testing.assert_array_equal(together(get, axis), get(whole))
    np.testing.assert_array_equal(
        np.concatenate([piece.times for piece in pieces]), whole.times
    )
    assert int(pieces[-1].final.step) == STEPS


SLOW = {name: pytest.param(name, marks=pytest.mark.slow) for name in DYNAMICS}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spiking", "exact", "graded", "conventional"])
def test_pieces_are_the_whole_run(name):
    assert_whole(feedforward(depth=2 if name == "spiking" else 1), DYNAMICS[name])


@pytest.mark.slow
def test_pieces_of_one_step_and_of_a_block():
    assert_whole(feedforward(depth=1), rl.Spiking(), cuts=(1, 2, 50))


@pytest.mark.parametrize("name", ["spiking", SLOW["exact"], SLOW["conventional"]])
def test_pieces_of_a_recurrent_layer(name):
    assert_whole(recurrent(), DYNAMICS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exact", "spiking"])
def test_pieces_of_chunks(name):
    """With a mesh a population is cut into eight chunks or more; the last one is not full."""
    network = feedforward(1100, 1, make=rl.streamed_relay_network)
    mesh = jax.make_mesh((1,), ("neurons",))
    assert_whole(network, DYNAMICS[name], mesh=mesh)
    if name == "exact":  # whose chunks are small enough for threads
        assert_whole(network, DYNAMICS[name])


def test_pieces_of_neurons_with_marks():
    lif = rl.LIF(v_reset=-2.0, dead_time=2e-3, memory=30e-3)
    assert_whole(feedforward(neuron=lif, depth=1), rl.Spiking())


@pytest.mark.slow
def test_a_changed_bias_acts_from_the_cut_on():
    """The potential stays where it is, and relaxes to the new bias: a closed form."""
    network = feedforward(depth=1)
    silent = np.zeros((STEPS, 2), np.float32)
    first = in_pieces(network, rl.ConventionalRate(), (7,), silent)[0]
    layer = network.layers[0]
    other = rl.Network(
        [rl.Layer(layer.neuron, layer.encoder, layer.decoder, layer.bias + 3.0)]
    )
    after = rl.simulate(
        other,
        silent[7:],
        rl.TimeGrid(DT, STEPS - 7),
        rl.ConventionalRate(),
        initial=first.final,
        keep_final=True,
    )
    decay = np.exp(-(STEPS - 7) * DT / float(layer.neuron.tau_m))
    expected = np.asarray(layer.bias) + 3.0 * (1.0 - decay)
    np.testing.assert_allclose(after.final.layers[0].potential, expected, rtol=1e-5)


def test_another_dead_time_takes_over_within_a_draw():
    """No neuron fires sooner than the new dead time, counted from spikes before the cut too."""
    short = rl.SRM0(
        refractory=rl.ExponentialRefractory(amplitude=0.0, tau=5e-3, dead_time=3e-3)
    )
    long = rl.SRM0(
        refractory=rl.ExponentialRefractory(amplitude=0.0, tau=5e-3, dead_time=6e-3)
    )
    fast = {"bias": 8.0, "num_neurons": 200, "num_latents": 2, "depth": 1, "key": KEY}
    networks = [rl.relay_network(neuron, **fast) for neuron in (short, long)]
    nothing = jnp.zeros((40, 2))
    everyone = {0: range(200)}
    first, second = 8, 32  # a draw serves three steps
    options = dict(key=KEY, record=everyone)
    before = rl.simulate(
        networks[0],
        nothing[:first],
        rl.TimeGrid(DT, first),
        rl.Spiking(),
        keep_final=True,
        **options,
    )
    after = rl.simulate(
        networks[1],
        nothing[:second],
        rl.TimeGrid(DT, second),
        rl.Spiking(),
        initial=before.final,
        **options,
    )
    spikes = np.concatenate(
        [before.recordings[0].activity, after.recordings[0].activity]
    )
    for train in spikes.T:
        steps = np.flatnonzero(train)
        crossing = steps[1:] > first
        assert np.all(np.diff(steps)[crossing] >= 6)
        assert np.all(np.diff(steps) >= 3)


@pytest.mark.parametrize("name", ["exact", "graded", "spiking", "conventional"])
def test_a_stationary_state_stays(name):
    """Rates are those of constant input from the first step on: exactly, or within four standard errors of the drawn ages."""
    signal = jnp.asarray([0.7, -0.4])
    network = feedforward(6000 if name == "spiking" else 70, depth=1)
    increments = jnp.broadcast_to(signal * DT, (100, 2))
    grid = rl.TimeGrid(DT, 100)
    trajectory = rl.simulate(
        network,
        increments,
        grid,
        DYNAMICS[name],
        key=KEY,
        initial=rl.stationary_state(network, signal),
    )
    layer = network.layers[0]
    potential = layer.bias + layer.encoder @ signal
    rate = np.asarray(rl.stationary_rate(layer.neuron, potential, DT))
    expected = rate.mean()
    if name == "spiking":
        error = np.sqrt(np.mean(rate * DT * (1.0 - rate * DT)) / len(rate)) / DT
        found = np.asarray(trajectory.rates[0])
        assert np.all(np.abs(found - expected) < 4.5 * error)
    else:
        tolerance = 3e-3 if name == "graded" else 2e-5
        np.testing.assert_allclose(trajectory.rates[0], expected, rtol=tolerance)
        settled = (rate[:, None] * layer.decoder).mean(0)
        np.testing.assert_allclose(
            trajectory.outputs,
            np.broadcast_to(settled, (100, 2)),
            atol=tolerance * np.abs(settled).max(),
        )


def test_settled_ages_are_those_of_a_long_run():
    """The exact scheme leads to them."""
    neuron, potential = rl.SRM0(), jnp.asarray([0.0, 1.5, 3.0])
    layer = rl.Layer(neuron, np.eye(3), np.eye(3), potential)
    run = rl.simulate(
        rl.Network([layer]),
        np.zeros((2000, 3), np.float32),
        rl.TimeGrid(DT, 2000),
        rl.GeneralisedRate(),
        keep_final=True,
    )
    mass = np.asarray(run.final.layers[0].neurons.density.mass)
    ages = np.asarray(settled_ages(neuron, potential, DT))
    dead = ages.shape[0] - mass.shape[0]
    np.testing.assert_allclose(
        np.sort(mass, axis=0), np.sort(ages[dead:], axis=0), rtol=1e-3, atol=1e-6
    )


@pytest.mark.slow
def test_derivatives_go_on_through_pieces():
    """By what came in before the cut."""
    network = feedforward(40, 1)
    increments = drive().increments(rl.TimeGrid(DT, STEPS))

    def whole(increments):
        grid = rl.TimeGrid(DT, STEPS)
        outputs = rl.simulate(network, increments, grid, rl.GeneralisedRate()).outputs
        return jnp.sum(outputs[93:] ** 2)

    def pieces(increments):
        last = in_pieces(network, rl.GeneralisedRate(), (93,), increments)[-1]
        return jnp.sum(last.outputs**2)

    expected = jax.grad(whole)(increments)
    found = jax.grad(pieces)(increments)
    scale = np.abs(expected[:93]).max()
    assert scale > 0.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.slow
def test_states_in_a_batch():
    """Under `vmap` each run goes on from its own state."""
    network, key = feedforward(40, 1), jax.random.split(KEY, 3)
    first, second = drive().increments(rl.TimeGrid(DT, 60)).reshape(2, 30, 2)
    grid = rl.TimeGrid(DT, 30)

    def run(key):
        before = rl.simulate(
            network, first, grid, rl.Spiking(), key=key, keep_final=True
        )
        return rl.simulate(
            network, second, grid, rl.Spiking(), key=key, initial=before.final
        ).outputs

    np.testing.assert_array_equal(jax.vmap(run)(key)[1], run(key[1]))


def test_refusals():
    network, grid = feedforward(depth=1), rl.TimeGrid(DT, 5)
    nothing = jnp.zeros((5, 2))
    spiking = rl.simulate(
        network, nothing, grid, rl.Spiking(), key=KEY, keep_final=True
    ).final

    def refused(match, network=network, grid=grid, dynamics=None, initial=spiking):
        dynamics = rl.Spiking() if dynamics is None else dynamics
        with pytest.raises(ValueError, match=match):
            rl.simulate(network, nothing, grid, dynamics, key=KEY, initial=initial)

    refused("must come from a run under GeneralisedRate", dynamics=rl.GeneralisedRate())
    refused("grid.dt must be that of the run", grid=rl.TimeGrid(2e-3, 5))
    refused("grid.first_step must be 0", grid=rl.TimeGrid(DT, 5, 3))
    refused("must have the 2 layers", network=feedforward())
    refused("must have the 71 neurons", network=feedforward(71, 1))
    refused("same delays of feedback", network=recurrent())
    refused("initial must be an instance of State", initial=3)
    refused("StraightThrough", dynamics=rl.Spiking(rl.train.StraightThrough()))
    density = rl.simulate(
        network, nothing, grid, rl.GeneralisedRate(), keep_final=True
    ).final
    refused("under this AgeMesh", dynamics=DYNAMICS["graded"], initial=density)
    adaptive = rl.AdaptiveSRM(adaptation=[rl.Adaptation(1.0, 0.1)])
    with pytest.raises(ValueError, match="nothing but its last spike"):
        rl.stationary_state(feedforward(neuron=adaptive, depth=1), jnp.zeros(2))
    with pytest.raises(ValueError, match="feedback must be None"):
        rl.stationary_state(recurrent(), jnp.zeros(2))
