"""Several draws of a loss in one step of a fit: their mean, whoever runs them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ratelike as rl
from ratelike._population import _host_threads
from ratelike._training import _descent as descents
from tests.training.test_fit import CENTRE, KEY, NETWORK, Quadratic, quick

pytestmark = pytest.mark.usefixtures("any_ranks")

SIZE = 5
NOISY = Quadratic(CENTRE, 1.0)


def keys_of(step):
    return jax.random.split(jax.random.fold_in(KEY, step), SIZE)


def test_a_step_is_by_the_mean_over_its_keys():
    """Gradient descent by hand, in NumPy: the gradient of a quadratic loss is 2 (x - centre - mean noise)."""
    network, history = quick(loss=NOISY, batch_size=SIZE, num_steps=4)
    x = np.asarray(NETWORK.layers[0].encoder)
    for step in range(4):
        noise = np.stack(
            [jax.random.normal(k, x.shape, x.dtype) for k in keys_of(step)]
        )
        distances = x - np.asarray(CENTRE) - noise
        np.testing.assert_allclose(
            history[step], (distances**2).sum((1, 2)).mean(), rtol=1e-12
        )
        x = x - 0.1 * 2.0 * distances.mean(axis=0)
    np.testing.assert_allclose(network.layers[0].encoder, x, rtol=1e-12)


def of_spikes(network, key):
    """A loss with a loop over time in it."""
    grid = rl.TimeGrid(1e-3, 12)
    drive_key, spike_key = jax.random.split(key)
    increments = rl.WienerDrive(2, key=drive_key).increments(grid)
    dynamics = rl.Spiking(rl.train.StraightThrough())
    spikes = rl.simulate(network, increments, grid, dynamics, key=spike_key).outputs
    return jnp.mean((spikes - 0.1) ** 2)


# One for all: another one would be another program.
ADAM = optax.adam(0.1)


def batched(optimiser=ADAM, loss=of_spikes):
    return quick(loss=loss, batch_size=SIZE, optimiser=optimiser, num_steps=3)


def test_the_number_of_cores_changes_no_bit(monkeypatch):
    fits, used = [], []
    inner = descents.map_in_threads

    def watched(run_chunk, count, threads, *arrays):
        used.append((count, threads.number))
        return inner(run_chunk, count, threads, *arrays)

    monkeypatch.setattr(descents, "map_in_threads", watched)
    for cores in (1, 3, 64):
        monkeypatch.setattr(_host_threads, "num_cores", lambda cores=cores: cores)
        fits.append(batched())
    assert used == [(SIZE, cores) for cores in (1, 3, 64) for _ in range(3)]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.history, fits[0].history)
        assert eqx.tree_equal(fit.network, fits[0].network)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_one_program_takes_the_mean_as_threads_do(monkeypatch, backend):
    """As on an accelerator, side by side, or where the caller has made devices of the cores."""
    # A loss of its own: programs that are compiled know their backend.
    loss = Quadratic(CENTRE, 1.0 + len(backend) * (backend == "gpu"))
    in_threads = quick(loss=loss, batch_size=SIZE)
    monkeypatch.setattr(descents, "host_threads", lambda arguments: None)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    in_one = quick(loss=loss, batch_size=SIZE)
    np.testing.assert_allclose(in_one.history, in_threads.history, rtol=1e-12)
    assert eqx.tree_equal(in_one.network, in_threads.network, rtol=1e-12)


def test_a_line_search_sees_the_mean_too():
    """An optimiser that moves by the difference of the two values that it is given stays where it is."""

    def update(gradient, state, x, *, value, value_fn, **others):
        return jax.tree.map(lambda leaf: 0.0 * leaf + value_fn(x) - value, x), state

    by_values = optax.GradientTransformationExtraArgs(lambda x: (), update)
    network, history = batched(by_values, NOISY)
    assert len(set(history)) == 3
    moved = network.layers[0].encoder - NETWORK.layers[0].encoder
    np.testing.assert_allclose(moved, 0.0, atol=1e-12)


def test_a_line_search_finds_the_minimum_of_a_batch():
    def loss(network, key):
        # The same draw in each step: the minimum is the centre plus its noise.
        del key
        return NOISY(network, jax.random.key(7))

    network, history = batched(optax.lbfgs(), loss)
    noise = jax.random.normal(jax.random.key(7), CENTRE.shape, CENTRE.dtype)
    np.testing.assert_allclose(network.layers[0].encoder, CENTRE + noise, atol=1e-6)
    assert history[-1] < 1e-8 * history[0]


def test_one_bad_draw_of_a_batch_is_an_error_of_its_step():
    def loss(network, key):
        # One of the keys of step 2.
        bad = jnp.all(jax.random.key_data(key) == jax.random.key_data(keys_of(2)[3]))
        return jnp.where(bad, jnp.nan, network.layers[0].encoder[0, 0])

    with pytest.raises(
        rl.train.FitError, match="step 2: not finite: the loss"
    ) as caught:
        quick(loss=loss, batch_size=SIZE)
    start = float(NETWORK.layers[0].encoder[0, 0])
    last = float(caught.value.network.layers[0].encoder[0, 0])
    np.testing.assert_allclose(last, start - 0.1, rtol=1e-12)


def test_a_batch_goes_on_from_its_checkpoint_and_refuses_that_of_another_size(tmp_path):
    arguments = dict(loss=NOISY, batch_size=SIZE, checkpoint=tmp_path / "fit")
    through = quick(loss=NOISY, batch_size=SIZE, num_steps=6)
    quick(num_steps=4, **arguments)
    resumed = quick(num_steps=6, **arguments)
    np.testing.assert_array_equal(resumed.history, through.history)
    assert eqx.tree_equal(resumed.network, through.network)
    with pytest.raises(ValueError, match="checkpoint must belong to the same"):
        quick(num_steps=6, **arguments | dict(batch_size=SIZE + 1))


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "3", None])
def test_a_batch_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="batch_size must be"):
        quick(batch_size=wrong)
