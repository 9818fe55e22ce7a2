"""Fits: what is trained, positivity, resuming, and what happens when a loss is not finite."""

import copy
import json
import pickle
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ratelike as rl
from ratelike._training import _checkpoint as checkpoints
from tests.oracles import networks

pytestmark = pytest.mark.usefixtures("any_ranks")

KEY = jax.random.key(0)
GRID = rl.TimeGrid(1e-3, 12)


def relay(seed, num_neurons=6):
    neuron = rl.SRM0(refractory=rl.ExponentialRefractory(memory=10e-3))
    return networks.relay(neuron, num_neurons, seed=seed)


NETWORK = relay(1)
INCREMENTS = 0.02 * np.random.default_rng(0).normal(size=(12, 2))
TARGET = rl.simulate(relay(2), INCREMENTS, GRID, rl.GeneralisedRate()).outputs


def rate_loss(network, key):
    outputs = rl.simulate(network, INCREMENTS, GRID, rl.GeneralisedRate()).outputs
    return jnp.mean((outputs - TARGET) ** 2)


class Quadratic(eqx.Module):
    """A loss that costs no simulation: the squared distance of encoders to noise of size `noise` around `centre`."""

    centre: jax.Array
    noise: float = 0.0

    def __call__(self, network, key):
        encoder = network.layers[0].encoder
        noise = self.noise * jax.random.normal(key, encoder.shape, encoder.dtype)
        return jnp.sum((encoder - self.centre - noise) ** 2)


CENTRE = jnp.full((6, 2), 3.0)


def encoders(network):
    return [layer.encoder for layer in network.layers]


def quick(network=NETWORK, loss=None, **arguments):
    loss = Quadratic(CENTRE) if loss is None else loss
    defaults = dict(where=encoders, optimiser=optax.sgd(0.1), num_steps=5, key=KEY)
    return rl.fit(network, loss, **(defaults | arguments))


def test_plain_descent_is_the_closed_form_and_leaves_the_rest_alone():
    network, history = quick(num_steps=20)
    start = NETWORK.layers[0].encoder
    # x <- x - 0.1 * 2 (x - c) shrinks the distance by 0.8 in each step.
    expected = CENTRE + (start - CENTRE) * 0.8**20
    np.testing.assert_allclose(network.layers[0].encoder, expected, rtol=1e-12)
    losses = np.sum((start - CENTRE) ** 2) * 0.8 ** (2 * np.arange(20))
    np.testing.assert_allclose(history, losses, rtol=1e-12)
    untouched = eqx.tree_at(encoders, network, [start])
    assert eqx.tree_equal(untouched, NETWORK)


def test_gradient_is_that_of_the_loss_for_encoders_decoders_biases_and_constants():
    """One step of gradient descent against central differences; of a positive constant in its logarithm."""
    rate = 1e-3

    def where(network):
        layer = network.layers[0]
        return {
            "free": (layer.encoder, layer.decoder, layer.bias),
            "positive": rl.train.Positive(
                [layer.neuron.tau_m, layer.neuron.escape.width]
            ),
            "any": rl.train.Unconstrained(layer.neuron.refractory.amplitude),
        }

    network, _ = rl.fit(
        NETWORK, rate_loss, where=where, optimiser=optax.sgd(rate), num_steps=1, key=KEY
    )
    chosen = [
        (lambda n: n.layers[0].encoder, (2, 1), False),
        (lambda n: n.layers[0].decoder, (1, 0), False),
        (lambda n: n.layers[0].bias, (3,), False),
        (lambda n: n.layers[0].neuron.refractory.amplitude, (), False),
        (lambda n: n.layers[0].neuron.tau_m, (), True),
        (lambda n: n.layers[0].neuron.escape.width, (), True),
    ]
    loss = jax.jit(lambda network: rate_loss(network, KEY))
    for leaf, index, positive in chosen:
        start, value = leaf(NETWORK), leaf(network)
        step = 1e-6 * (float(start[index]) if positive else 1.0)

        def shifted(sign, leaf=leaf, start=start, index=index, step=step):
            return loss(eqx.tree_at(leaf, NETWORK, start.at[index].add(sign * step)))

        slope = (shifted(1.0) - shifted(-1.0)) / (2.0 * step)
        moved = value[index] - start[index]
        if positive:
            slope = slope * start[index]
            moved = jnp.log(value[index] / start[index])
        assert abs(slope) > 1e-9
        # Central differences of a loss of order 1 in float64: 10^-10 of rounding each.
        np.testing.assert_allclose(moved, -rate * slope, rtol=1e-4, atol=1e-13)


def test_positive_constants_stay_positive_in_every_step():
    """The loss draws the constants below zero: without a domain one step of 10 takes them there."""
    seen = []

    def loss(network, key):
        neuron = network.layers[0].neuron
        constants = jnp.stack([neuron.tau_m, neuron.escape.rate, neuron.escape.width])
        jax.debug.callback(lambda values: seen.append(np.asarray(values)), constants)
        return jnp.sum(constants / jax.lax.stop_gradient(constants))

    def constants(network):
        neuron = network.layers[0].neuron
        return [neuron.tau_m, neuron.escape.rate, neuron.escape.width]

    arguments = dict(loss=loss, num_steps=120, every=7)
    network, _ = quick(
        optimiser=optax.sgd(10.0),
        where=lambda n: rl.train.Positive(constants(n)),
        **arguments,
    )
    jax.effects_barrier()
    assert len(seen) == 120
    assert np.min(seen) > 0.0
    assert all(float(value) > 0.0 for value in constants(network))
    # At the smallest number the derivative is 0, and the loss finite.
    assert float(network.layers[0].neuron.tau_m) < 1e-300
    free, _ = quick(
        optimiser=optax.sgd(10.0),
        where=lambda n: rl.train.Unconstrained(constants(n)),
        loss=lambda n, key: sum(constants(n)),
        num_steps=1,
    )
    assert min(float(value) for value in constants(free)) < 0.0


@pytest.mark.slow
def test_a_fit_lowers_the_loss_with_adam_and_with_a_line_search():
    adam = rl.fit(
        NETWORK,
        rate_loss,
        where=encoders,
        optimiser=optax.adam(0.1),
        num_steps=30,
        key=KEY,
    )
    search = rl.fit(
        NETWORK,
        rate_loss,
        where=encoders,
        optimiser=optax.lbfgs(),
        num_steps=8,
        key=KEY,
    )
    for network, history in (adam, search):
        assert isinstance(history, np.ndarray)
        assert float(rate_loss(network, KEY)) < 0.6 * history[0]
        np.testing.assert_allclose(history[0], rate_loss(NETWORK, KEY), rtol=1e-12)


def test_each_step_has_a_key_of_its_own():
    _, history = quick(loss=Quadratic(CENTRE, 1.0), optimiser=optax.sgd(0.0))
    keys = [jax.random.fold_in(KEY, step) for step in range(5)]
    expected = [Quadratic(CENTRE, 1.0)(NETWORK, key) for key in keys]
    np.testing.assert_allclose(history, expected, rtol=1e-12)
    assert len(set(history)) == 5


def test_a_resumed_fit_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    # The optimiser holds a typed key, which must survive the file.
    def optimiser():
        noise = optax.add_noise(0.1, 0.5, jax.random.key(3))
        return optax.chain(noise, optax.adam(0.05))

    arguments = dict(loss=Quadratic(CENTRE, 0.3), every=4)
    file = tmp_path / "deep" / "fit.ckpt"
    through = quick(optimiser=optimiser(), num_steps=23, **arguments)

    class Interruption(Exception):
        pass

    def interrupted(steps):
        for step in steps:
            if step == 14:
                raise Interruption
            yield step

    with pytest.raises(Interruption):
        quick(
            optimiser=optimiser(),
            num_steps=23,
            checkpoint=file,
            progress=interrupted,
            **arguments,
        )
    resumed_steps = []

    def watched(steps):
        resumed_steps.extend(steps)
        return steps

    resumed = quick(
        optimiser=optimiser(),
        num_steps=23,
        checkpoint=str(file),
        progress=watched,
        **arguments,
    )
    assert resumed_steps == list(range(12, 23))
    np.testing.assert_array_equal(resumed.history, through.history)
    assert eqx.tree_equal(resumed.network, through.network)
    assert [path.name for path in file.parent.iterdir()] == ["fit.ckpt"]
    # Finished: nothing is computed; and it can be taken further.
    again = quick(optimiser=optimiser(), num_steps=23, checkpoint=file, **arguments)
    assert eqx.tree_equal(again.network, through.network)
    longer = quick(optimiser=optimiser(), num_steps=25, checkpoint=file, **arguments)
    np.testing.assert_array_equal(longer.history[:23], through.history)
    with pytest.raises(ValueError, match="num_steps must be at least the 25 steps"):
        quick(optimiser=optimiser(), num_steps=24, checkpoint=file, **arguments)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    file = tmp_path / "fit.ckpt"
    large = np.random.default_rng(0).normal(size=(300, 40))

    def closure(values):
        values = jnp.asarray(values)
        return lambda network, key: Quadratic(CENTRE)(network, key) + jnp.sum(values)

    arguments = dict(loss=closure(large), checkpoint=file)
    quick(**arguments)
    quick(**arguments | dict(loss=closure(large)))  # the same, made anew
    changed = large.copy()
    changed[150, 20] += 1.0
    network = eqx.tree_at(
        lambda n: n.layers[0].bias, NETWORK, NETWORK.layers[0].bias + 1
    )
    for other in (
        dict(network=network),
        dict(key=jax.random.key(1)),
        dict(optimiser=optax.sgd(0.2)),
        dict(optimiser=optax.adam(0.1)),
        dict(loss=closure(changed)),
        dict(loss=Quadratic(CENTRE)),
        dict(where=lambda n: [*encoders(n), n.layers[0].bias]),
    ):
        with pytest.raises(ValueError, match="checkpoint must belong to the same"):
            quick(**arguments | other)


def test_a_damaged_or_foreign_checkpoint_is_refused_by_its_name(tmp_path):
    file = tmp_path / "fit[1].ckpt"
    quick(optimiser=optax.adam(0.1), checkpoint=file)
    whole = file.read_bytes()
    mark = json.loads(whole.split(b"\n")[1])["fingerprint"]
    assert checkpoints.read(file, mark).step == 5
    flipped = [
        whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :]
        for i in [*range(120), *range(120, len(whole), 7)]
    ]
    short = [whole[:length] for length in [0, 1, 30, 90, 200, len(whole) - 1]]
    foreign = [b"something else\n", bytes(1000), b"\n" + whole, whole + b"\n"]
    foreign.append(whole.partition(b"\n")[2])  # as versions without a checksum wrote
    for content in flipped + short + foreign:
        file.write_bytes(content)
        begins = content.startswith(checkpoints.KIND)
        words = "does not match its checksum" if begins else "a file that this version"
        with pytest.raises(ValueError, match=re.escape(f"got {file}")) as refused:
            checkpoints.read(file, mark)
        assert words in str(refused.value)
    # The fit reads by the same function, and leaves the file.
    with pytest.raises(ValueError, match=re.escape(f"got {file}")):
        quick(optimiser=optax.adam(0.1), checkpoint=file)
    assert file.read_bytes() == content


def test_what_killed_processes_left_beside_a_checkpoint_is_removed(tmp_path):
    """Each process that is killed while it writes leaves one file."""
    file = tmp_path / "fit[1].ckpt"
    for token in ("0123456789abcdef", "fedcba9876543210"):
        (tmp_path / f"{file.name}.{token}.part").write_bytes(b"half")
    others = ["fit1.ckpt.0123456789abcdef.part", f"{file.name}.mine.part"]
    for name in others:
        (tmp_path / name).write_bytes(b"kept")
    quick(checkpoint=file)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([file.name, *others])


def test_a_write_that_fails_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    file = tmp_path / "fit.ckpt"
    quick(checkpoint=file)
    before = file.read_bytes()

    def full(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="no space left"):
            quick(checkpoint=file, num_steps=9)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["fit.ckpt"]
    assert len(quick(checkpoint=file, num_steps=9).history) == 9


@pytest.mark.parametrize(
    "copied",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deepcopy"],
)
def test_the_error_of_a_fit_comes_back_from_another_process_and_from_copies(copied):
    error = rl.train.FitError("step 2: bad", 2, NETWORK, np.array([2.0, 1.0]))
    error.add_note("in the third fit")
    again = copied(error)
    assert type(again) is rl.train.FitError
    assert (str(again), again.step) == ("step 2: bad", 2)
    assert again.__notes__ == ["in the third fit"]
    np.testing.assert_array_equal(again.history, [2.0, 1.0])
    assert eqx.tree_equal(again.network, NETWORK)


def descent_into_nan(at):
    """Finite until the encoder has passed `at`; then the loss is not a number, or its gradient alone is infinite."""

    def of_loss(network, key):
        first = network.layers[0].encoder[0, 0]
        return first + jnp.where(first < at, jnp.nan, 0.0)

    def of_gradient(network, key):
        first = network.layers[0].encoder[0, 0]
        root = jnp.sqrt(jnp.where(first < at, 0.0, 1.0) * first)
        return first + 0.0 * jnp.where(first < at, root, first)

    return of_loss, of_gradient


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("every", [1, 4, 100])
def test_a_fit_that_is_not_finite_stops_with_the_last_good_network(
    tmp_path, kind, every
):
    network = eqx.tree_at(encoders, NETWORK, [jnp.ones((6, 2))])
    loss = descent_into_nan(0.45)[kind]
    file = tmp_path / "fit.ckpt"

    def run(every, checkpoint=None):
        return quick(network, loss, num_steps=30, every=every, checkpoint=checkpoint)

    what = ["the loss", r"gradient in network.layers\[0\].encoder"][kind]
    with pytest.raises(rl.train.FitError, match=what) as caught:
        run(every, file)
    error = caught.value
    # 1, 0.9, ..., 0.5 are good, and 0.4 in step 6 is not.
    assert error.step == 6
    np.testing.assert_allclose(error.history, 1.0 - 0.1 * np.arange(6), rtol=1e-12)
    np.testing.assert_allclose(error.network.layers[0].encoder[0, 0], 0.5)
    assert np.isfinite(loss(error.network, KEY))
    # What was written before is good, and going on from it ends in the same place.
    assert file.exists() == (every < 7)
    with pytest.raises(rl.train.FitError, match="step 6: not finite") as caught:
        run(every, file)
    np.testing.assert_array_equal(caught.value.history, error.history)
    assert eqx.tree_equal(caught.value.network, error.network)


def test_a_loss_that_recovers_is_still_an_error_of_the_first_bad_step():
    """Random losses may be finite again in the next step: the state must not move on."""

    def loss(network, key):
        bad = jax.random.uniform(key) < 0.2
        return jnp.where(bad, jnp.nan, network.layers[0].encoder[0, 0])

    steps = np.arange(50)
    draws = [float(jax.random.uniform(jax.random.fold_in(KEY, n))) for n in steps]
    first = int(np.argmax(np.array(draws) < 0.2))
    assert first > 0
    assert draws[first + 1] > 0.2
    with pytest.raises(rl.train.FitError) as caught:
        quick(loss=loss, num_steps=50)
    assert caught.value.step == first
    start = float(NETWORK.layers[0].encoder[0, 0])
    last = float(caught.value.network.layers[0].encoder[0, 0])
    np.testing.assert_allclose(last, start - 0.1 * (first - 1), rtol=1e-12)


def test_a_first_loss_that_is_not_finite_leaves_no_network():
    with pytest.raises(
        rl.train.FitError, match="step 0: not finite: the loss"
    ) as caught:
        quick(loss=lambda n, key: jnp.inf * n.layers[0].encoder[0, 0] ** 2)
    assert caught.value.network is None
    assert len(caught.value.history) == 0


def test_the_step_is_compiled_once():
    traces = []

    def loss(network, key):
        traces.append(None)
        return Quadratic(CENTRE)(network, key)

    quick(loss=loss, num_steps=40, every=3)
    first = len(traces)
    quick(loss=loss, num_steps=40, every=5, optimiser=optax.sgd(0.1))
    assert first <= 2  # its shape, and the step itself


def test_float32_stays_float32():
    network = jax.tree.map(lambda x: x.astype(jnp.float32), NETWORK)

    def loss(network, key):
        return jnp.sum(network.layers[0].encoder ** 2) * network.layers[0].neuron.tau_m

    def where(n):
        return [encoders(n), rl.train.Positive(n.layers[0].neuron.tau_m)]

    fitted, history = quick(network, loss, optimiser=optax.adam(0.1), where=where)
    assert {leaf.dtype for leaf in jax.tree.leaves(fitted)} == {jnp.dtype("float32")}
    assert history.dtype == np.float32


def test_no_steps_return_the_network_as_it_is():
    network, history = quick(num_steps=0)
    assert eqx.tree_equal(network, NETWORK)
    assert history.shape == (0,)


def layer_zero(choose):
    return dict(where=lambda network: choose(network.layers[0]))


BAD = {
    "network must be an instance of Network": dict(network=NETWORK.layers[0]),
    "network.layers[0].bias must be finite": dict(
        network=eqx.tree_at(lambda n: n.layers[0].bias, NETWORK, jnp.full(6, jnp.nan))
    ),
    "loss must be a function": dict(loss=1.0),
    "value of loss must have shape (), got shape (6, 2)": dict(
        loss=lambda n, key: n.layers[0].encoder
    ),
    "where must be a function": dict(where=[1]),
    "where must choose at least one array": dict(where=lambda n: []),
    "got network.layers[0].bias twice": layer_zero(
        lambda layer: [layer.bias, layer.bias]
    ),
    "give network.layers[0].neuron.tau_m a domain": layer_zero(
        lambda layer: layer.neuron.tau_m
    ),
    "give network.output_tau_m a domain": dict(where=lambda n: n.output_tau_m),
    "network.layers[0].encoder must be finite and greater than 0": layer_zero(
        lambda layer: rl.train.Positive(layer.encoder)
    ),
    "where must not choose network.layers[0].neuron.refractory.dead_time": layer_zero(
        lambda layer: rl.train.Unconstrained(layer.neuron.refractory)
    ),
    "where must return arrays of the network as they are, got 3": dict(
        where=lambda n: 3
    ),
    "where must return arrays of the network that it is given, as they are, got Ind": dict(
        where=lambda n: n.layers[1].bias
    ),
    "where must return arrays of the network that it is given, as they are, got Att": dict(
        where=lambda n: n.layers[0].encodr
    ),
    "where must return arrays of the network that it is given, as they are, got Typ": dict(
        where=lambda: None
    ),
    "optimiser must be an optax.GradientTransformation": dict(optimiser=0.1),
    "num_steps must be a whole number of at least 0, got -1": dict(num_steps=-1),
    "every must be a whole number of at least 1, got 0": dict(every=0),
    "progress must be a function of an iterable, got 3": dict(progress=3),
    "key must be a typed JAX random key, got None": dict(key=None),
}


@pytest.mark.parametrize(("message", "case"), BAD.items(), ids=list(BAD))
def test_bad_arguments(message, case):
    with pytest.raises(ValueError, match=re.escape(message)):
        quick(**case)


COMPUTED = {
    "slice": lambda layer: layer.decoder[:12],
    "one of several": lambda layer: [
        layer.bias,
        rl.train.Positive(layer.neuron.tau_m[0]),
    ],
    "left": lambda layer: 2.0 * layer.decoder,
    "right": lambda layer: layer.decoder / 2.0,
    "array": lambda layer: jnp.ones(6) + layer.bias,
    "numpy": lambda layer: np.ones(6) * layer.bias,
    "product": lambda layer: layer.encoder @ layer.decoder,
    "minus": lambda layer: -layer.decoder,
    "transposed": lambda layer: layer.decoder.T,
    "at": lambda layer: layer.decoder.at[0].set(0.0),
    "shape": lambda layer: layer.decoder if layer.num_neurons else None,
    "rows": lambda layer: list(layer.decoder),
    "compared": lambda layer: layer.bias if layer.bias > 0 else layer.decoder,
    "function": lambda layer: jnp.sum(layer.decoder),
    "numpy function": lambda layer: np.sqrt(layer.decoder),
}


@pytest.mark.parametrize("choose", COMPUTED.values(), ids=list(COMPUTED))
def test_a_choice_is_not_to_be_computed_with(choose):
    message = (
        r"where must return arrays .* as they are, got a part of network.layers\[0\].* "
        r"return ratelike.train.Part\(array, index\)"
    )
    with pytest.raises(ValueError, match=message):
        quick(**layer_zero(choose))


def test_a_checkpoint_is_a_file_in_a_folder(tmp_path):
    (tmp_path / "file").touch()
    for message, path in {
        "checkpoint must be a path, got 3": 3,
        f"checkpoint must name a file, got {tmp_path}, which is a folder": tmp_path,
        f"checkpoint must lie in a folder, got {tmp_path}/file/a": tmp_path / "file/a",
    }.items():
        with pytest.raises(ValueError, match=re.escape(message)):
            quick(checkpoint=path)


def test_an_unbiased_gradient_of_spikes_in_a_fit():
    """The expected number of spikes is brought to a target through the score function."""
    network = relay(3, num_neurons=4)

    def spikes(network, key, num_trials=16):
        def loss(network, run):
            return (jnp.mean(run.rates) - 60.0) ** 2

        return rl.train.sampled_loss(
            network,
            loss,
            INCREMENTS,
            GRID,
            rl.Spiking(rl.train.ScoreFunction()),
            key=key,
            num_trials=num_trials,
        )

    fitted, _ = quick(
        network,
        spikes,
        where=lambda n: n.layers[0].bias,
        optimiser=optax.adam(0.1),
        num_steps=60,
    )
    before, after = (
        rl.simulate(n, INCREMENTS, GRID, rl.GeneralisedRate()).rates.mean()
        for n in (network, fitted)
    )
    assert before < 30.0
    assert 45.0 < after < 75.0
