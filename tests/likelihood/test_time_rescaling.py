"""Intervals in the time of the model, and the test of their distribution.

Keys are fixed. A right model is refused with probability 10^-3 for each neuron; 4 of them are looked at.
"""

import jax
import numpy as np
import pytest
from scipy import stats

import ratelike as rl

GRID, KEY = rl.TimeGrid(1e-3, 20_000), jax.random.key(0)


def layer_of(dead_time):
    """High rates: dt rho is 0.3 to 0.6, so that a time in steps is far from continuous."""
    kernel = rl.ExponentialRefractory(1.0, 5e-3, dead_time, 50e-3)
    neuron = rl.SRM0(escape=rl.ExponentialEscape(rate=300.0), refractory=kernel)
    return rl.Layer(neuron, np.ones((4, 1)), np.ones((4, 1)), 0.5)


@pytest.fixture(scope="module")
def run():
    drive = rl.OrnsteinUhlenbeckDrive(1, tau=20e-3, std=0.3, key=KEY)
    network = rl.Network([layer_of(3e-3)])
    spikes = rl.simulate(
        network, drive, GRID, rl.Spiking(), key=KEY, record={0: rl.Spikes()}
    ).spikes[0]
    return drive, spikes


def test_the_model_that_fired_passes_and_a_wrong_dead_time_does_not(run):
    right = rl.time_rescaling(layer_of(3e-3), *run, GRID, key=KEY)
    assert right.p_value.min() > 1e-3
    for each, distance, p_value in zip(*right, strict=True):
        assert len(each) > 1000
        theirs = stats.kstest(each, "uniform")
        np.testing.assert_allclose(distance, theirs.statistic, rtol=1e-12)
        np.testing.assert_allclose(p_value, theirs.pvalue, atol=3e-3)
        # Independent, too: |z| < 4 for the correlation of neighbours.
        z = np.corrcoef(each[1:], each[:-1])[0, 1] * np.sqrt(len(each))
        assert abs(z) < 4.0
    wrong = rl.time_rescaling(layer_of(2e-3), *run, GRID, key=KEY)
    assert wrong.p_value.max() < 1e-6


def test_a_neuron_without_an_interval_has_no_distance(run):
    drive, _ = run
    silent = rl.time_rescaling(
        layer_of(3e-3), drive, [[0.1], [], [], [0.2, 0.3]], GRID, key=KEY
    )
    assert [len(each) for each in silent.intervals] == [0, 0, 0, 1]
    assert np.isnan(silent.distance).tolist() == [True, True, True, False]
    assert np.isnan(silent.p_value).tolist() == [True, True, True, False]
