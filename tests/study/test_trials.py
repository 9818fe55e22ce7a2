"""Means over trials are those of NumPy over runs one by one, however they are computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

GRID = rl.TimeGrid(1e-3, 20)
KEY = jax.random.key(3)
NETWORK = rl.relay_network(
    rl.SRM0(), num_neurons=40, num_latents=2, depth=1, key=jax.random.key(0), bias=3.0
)
DRIVE = rl.WienerDrive(2, key=jax.random.key(1))


def white_noise(key):
    return rl.WienerDrive(2, key=key)


def run(drive=DRIVE, num_trials=5, **options):
    return rl.trials(NETWORK, drive, GRID, key=KEY, num_trials=num_trials, **options)


def one_by_one(num_trials=5, drives=None):
    runs = [
        rl.simulate(
            NETWORK,
            DRIVE if drives is None else drives(t),
            GRID,
            rl.Spiking(),
            key=jax.random.fold_in(KEY, t),
            record={0: range(40)},
        )
        for t in range(num_trials)
    ]
    return runs


def check_moments(result, runs):
    """By the textbook formula in float64; single precision holds 1e-5 of the largest value."""
    for name in ("outputs", "rates"):
        values = np.stack(
            [np.asarray(getattr(each, name), np.float64) for each in runs]
        )
        close = dict(atol=1e-5 * np.abs(values).max())
        np.testing.assert_allclose(getattr(result, name), values.mean(axis=0), **close)
        error = values.std(axis=0, ddof=1) / np.sqrt(len(runs))
        np.testing.assert_allclose(getattr(result, f"{name}_error"), error, **close)


def test_mean_error_and_spikes_are_those_of_runs_one_by_one():
    runs = one_by_one()
    result = run(record={0: rl.Spikes([1, 7])})
    check_moments(result, runs)
    assert result.spikes[0].words.shape[0] == 5
    for trains, each in zip(result.spike_times(0), runs, strict=True):
        fired = np.asarray(each.recordings[0].activity)[:, [1, 7]]
        for train, of_one in zip(trains, fired.T, strict=True):
            np.testing.assert_allclose(train, each.step_times[of_one > 0])
    with pytest.raises(ValueError, match=r"one of those recorded, \[0\]"):
        result.spike_times(1)


def test_how_many_run_at_once_changes_no_bit_and_more_trials_go_on():
    """One thread or three; and a mesh, which is how a GPU runs them: one by one and in batches of two."""
    record = {0: rl.Spikes()}
    mesh = jax.make_mesh((1,), ("neurons",))
    first = run(at_once=1, record=record)
    for options in (dict(at_once=3), dict(mesh=mesh), dict(mesh=mesh, at_once=2)):
        jax.tree.map(np.testing.assert_array_equal, first, run(**options, record=record))  # fmt: skip
    fewer = run(num_trials=3, record=record)
    np.testing.assert_array_equal(fewer.spikes[0].words, first.spikes[0].words[:3])
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(fewer.outputs, first.outputs)


@pytest.mark.slow
def test_within_jit_and_a_batch():
    """Five trials in batches of two, the last of which is half empty; an input for each."""

    @jax.jit
    @jax.vmap
    def batch(key):
        return rl.trials(
            NETWORK, white_noise, GRID, key=key, num_trials=5, at_once=2,
            record={0: rl.Spikes()},
        )  # fmt: skip

    at_top_level = run(white_noise, record={0: rl.Spikes()})
    within = jax.tree.map(lambda leaf: leaf[1], batch(jnp.stack([jax.random.key(9), KEY])))  # fmt: skip
    np.testing.assert_array_equal(within.spikes[0].words, at_top_level.spikes[0].words)
    for name in ("outputs", "outputs_error", "rates", "rates_error"):
        ours, theirs = getattr(within, name), getattr(at_top_level, name)
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())
    drives = [
        white_noise(jax.random.fold_in(jax.random.fold_in(KEY, t), 2**31 - 1))
        for t in range(5)
    ]
    check_moments(at_top_level, one_by_one(drives=lambda t: drives[t]))


def test_one_trial_has_no_standard_error():
    one = run(num_trials=1)
    assert np.isnan(one.outputs_error).all()
    np.testing.assert_array_equal(one.times, GRID.times[1:])


BAD = {
    "num_trials must be": dict(num_trials=0),
    "at_once must be": dict(at_once=0),
    r"record\[0\] must be Spikes\(\.\.\.\) for trials": dict(record={0: [1]}),
    "GeneralisedRate, whose neurons have": dict(
        dynamics=rl.GeneralisedRate(), record={0: rl.Spikes()}
    ),
    r"got shape \(20, 3\)": dict(drive=lambda key: rl.WienerDrive(3, key=key)),
}


@pytest.mark.parametrize("message", BAD)
def test_what_makes_no_sense(message):
    with pytest.raises(ValueError, match=message):
        run(**BAD[message])
