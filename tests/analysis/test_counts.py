"""Spectra, covariances and Fano factors of neurons by themselves, against the renewal equation summed up step by step."""

import numpy as np
import pytest

import ratelike as rl

DT, AGES, DEAD = 1e-3, 15, 3
BIAS = np.array([0.5, 1.5, 2.5])
LAYER = rl.Layer(
    rl.SRM0(
        10e-3,
        rl.ExponentialEscape(60.0),
        rl.ExponentialRefractory(3.0, 6e-3, DEAD * DT, AGES * DT),
    ),
    None,
    np.ones((3, 1)),
    BIAS,
)


def covariances(bias, steps):
    """Of the spikes of one neuron, per step, and its activity; it knows intervals alone."""
    index = np.arange(1, steps + 1)
    ages = DT * np.minimum(index, AGES)
    hazard = 60.0 * np.exp(bias - 3.0 * np.exp(-ages / 6e-3))
    hazard[: DEAD - 1] = 0.0
    hazard[DEAD - 1] *= 0.5  # the spike is in the middle of its step
    survivor = np.exp(-DT * np.cumsum(hazard))
    interval = -np.diff(survivor, prepend=1.0)
    activity = 1.0 / (1.0 + np.sum(survivor))
    again = np.zeros(steps + 1)  # the chance to fire k steps after a spike
    again[0] = 1.0
    for k in range(1, steps + 1):
        again[k] = again[:k] @ interval[k - 1 :: -1]
    return activity * (again - activity), activity


def test_they_are_those_of_renewal_processes():
    at = rl.analysis.stationary_state(LAYER, dt=DT)
    each = [covariances(bias, 400) for bias in BIAS]
    covariance = np.stack([one[0] for one in each])
    activity = np.array([one[1] for one in each])
    np.testing.assert_allclose(at.rates[0], activity / DT, rtol=1e-10)
    # What is left at lag 400 is rounding.
    frequencies = np.array([1.0, 60.0, 333.0, 500.0])
    power = rl.analysis.neuron_spectra(LAYER, frequencies, at=at)
    waves = np.cos(2.0 * np.pi * DT * np.outer(frequencies, np.arange(401)))
    expected = (2.0 * waves @ covariance.T - covariance[:, 0]) / DT
    np.testing.assert_allclose(power, expected, rtol=1e-9)
    found = rl.analysis.autocovariance(LAYER, 50, at=at, num_frequencies=256)
    np.testing.assert_allclose(found.lags, DT * np.arange(50))
    mean = covariance.sum(axis=0)[:50] / (9 * DT**2)
    np.testing.assert_allclose(found.rates[0], mean, atol=1e-9 * mean[0])
    np.testing.assert_allclose(found.signals[0][:, 0, 0], mean, atol=1e-9 * mean[0])
    windows = np.array([1, 7, 200])
    fano = rl.analysis.fano_factor(LAYER, windows * DT, at=at, num_frequencies=512)
    for row, steps in zip(fano, windows, strict=True):
        lags = np.arange(1, steps)
        variance = steps * covariance[:, 0]
        variance = variance + 2.0 * covariance[:, 1:steps] @ (steps - lags)
        np.testing.assert_allclose(row, variance / (steps * activity), rtol=1e-9)


def test_what_is_refused():
    at = rl.analysis.stationary_state(LAYER, dt=DT)
    with pytest.raises(ValueError, match="windows must be multiples of dt"):
        rl.analysis.fano_factor(LAYER, [2.5e-3], at=at)
    with pytest.raises(ValueError, match="at least the 20 steps of a window, got 10"):
        rl.analysis.fano_factor(LAYER, [20e-3], at=at, num_frequencies=10)
    with pytest.raises(ValueError, match="layer must be one of the 1 of the network"):
        rl.analysis.neuron_spectra(LAYER, [1.0], at=at, layer=1)
    with pytest.raises(ValueError, match="at least num_lags = 20, got 10"):
        rl.analysis.autocovariance(LAYER, 20, at=at, num_frequencies=10)
