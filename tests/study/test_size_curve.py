"""Slopes and intervals of made-up errors: closed forms, and how often nominal 95% intervals hold the truth."""

import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

DESIGNS = [
    (48, 12, 3),
    (48, 24, 12, 6, 3),
    (48, 48, 48),
    (48, 12, 1),
    (48, 24, 12, 6, 1),
    (3, 3),
    (2, 2, 2),
    (5, 1),
]
# Errors around 1 with a relative scatter. Measured scatters are 0.2 at N = 64 and 0.02 from N = 1024 on.
LAWS = {
    "lognormal": lambda normal: np.exp(0.3 * normal),
    "Gaussian": lambda normal: 1.0 + 0.2 * normal,
}
# The quantile of Student's t with one degree of freedom, which is Cauchy's law.
CAUCHY_95, CAUCHY_90 = np.tan(0.475 * np.pi), np.tan(0.45 * np.pi)

ONES = np.ones(2)


def power_law(trials, errors, exponent=-0.5):
    """Sizes from 64 on, each 4 times the one before."""
    sizes = tuple(64 * 4**i for i in range(len(trials)))
    parts = np.split(errors, np.cumsum(trials)[:-1])
    scaled = tuple(n**exponent * e for n, e in zip(sizes, parts, strict=True))
    return rl.study.SizeCurve(sizes, scaled)


def coverage(trials, law, studies):
    generator = np.random.default_rng(zlib.crc32(repr(trials).encode()))
    covered = 0
    for _ in range(studies):
        slope = power_law(trials, law(generator.normal(size=sum(trials)))).slope()
        covered += slope.lower < -0.5 < slope.upper
    return covered / studies


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
def test_intervals_of_the_slope_hold_the_truth_as_often_as_they_say(law):
    """Coverage 0.95 over 800 studies of each design within four standard errors of 0.0077, and over all designs within
    four of 0.0027; lower by 0.01 for single Gaussian errors, whose logarithms are skewed."""
    shares = {trials: coverage(trials, law, 800) for trials in DESIGNS}
    assert min(shares.values()) > 0.909, shares
    assert max(shares.values()) < 0.981, shares
    assert 0.929 < np.mean(list(shares.values())) < 0.961, shares


def test_scatter_that_falls_with_the_size_makes_the_interval_wide_and_not_narrow():
    generator = np.random.default_rng(0)
    trials = (48, 12, 3)
    scatter = np.repeat([0.2, 0.1, 0.05], trials)
    covered = 0
    for _ in range(500):
        errors = np.exp(scatter * generator.normal(size=63))
        slope = power_law(trials, errors).slope()
        covered += slope.lower < -0.5 < slope.upper
    assert covered >= 493


def test_slope_of_a_power_law():
    assert power_law((5, 2, 1), np.ones(8)).slope().value == pytest.approx(-0.5)
    bent = rl.study.SizeCurve((1, 2, 4, 8), ([9.0], [2.0], [1.0], [0.5]))
    assert bent.slope(min_size=2).value == pytest.approx(-1.0, abs=1e-12)


def test_slope_is_that_of_log_means_and_does_not_depend_on_how_trials_are_shared_out():
    """Against `numpy.polyfit` through the logarithms of means, for a curve that is bent."""
    few = rl.study.SizeCurve((64, 128, 1024), ([1.0, 9.0], [2.0, 4.0], [2.0]))
    many = rl.study.SizeCurve((64, 128, 1024), ([1.0, 9.0] * 9, [2.0, 4.0], [2.0]))
    expected = np.polyfit(np.log([64, 128, 1024]), np.log([5.0, 3.0, 2.0]), 1)[0]
    for curve in (few, many):
        assert curve.slope().value == pytest.approx(expected, rel=1e-12)


def test_interval_of_the_slope_in_closed_form():
    """Sizes 1 and 3: the slope is a difference over log 3; c^2 = (1 + 1)/2^2 from two trials, one degree of freedom."""
    curve = rl.study.SizeCurve((1, 3), ([1.0, 3.0], [2.0]))
    error = np.sqrt(0.5 * (1 / 2 + 1)) / np.log(3.0)
    for slope, quantile in (
        (curve.slope(), CAUCHY_95),
        (curve.slope(level=0.9), CAUCHY_90),
    ):
        assert slope.value == pytest.approx(0.0, abs=1e-15)
        np.testing.assert_allclose(
            [slope.lower, slope.upper], [-quantile * error, quantile * error]
        )


def test_interval_of_the_mean_in_closed_form():
    """Two trials 1 and 3: a standard deviation of sqrt(2), a standard error of 1. Five: quantile 2.776 of tables."""
    curve = rl.study.SizeCurve((1, 2), (np.array([1.0, 3.0]), np.arange(5.0)))
    for level, quantiles in (
        (0.95, [CAUCHY_95, 2.7764451]),
        (0.9, [CAUCHY_90, 2.1318468]),
    ):
        half_width = np.array(quantiles) * [1.0, np.sqrt(2.5 / 5)]
        lower, upper = curve.confidence_interval(level)
        np.testing.assert_allclose(lower, 2.0 - half_width, atol=1e-6)
        np.testing.assert_allclose(upper, 2.0 + half_width, atol=1e-6)


def test_one_trial_at_every_size_has_a_slope_but_no_interval():
    curve = power_law((1, 1, 1, 1), np.array([1.0, 1.1, 0.9, 1.0]))
    slope = curve.slope()
    assert np.isfinite(slope.value)
    assert np.isnan([slope.lower, slope.upper]).all()
    assert np.isnan(curve.confidence_interval()).all()
    # A second trial at any size tells something, but not if that size is left out.
    curve = power_law((2, 1, 1), np.array([1.0, 1.1, 0.9, 1.0]))
    assert np.isfinite([curve.slope().lower, curve.slope().upper]).all()
    assert np.isnan(curve.slope(min_size=256).lower)


def test_errors_without_a_logarithm_have_no_slope():
    curve = rl.study.SizeCurve(
        (1, 2, 4), (np.array([0.0, 1.0]), np.ones(2), np.ones(2))
    )
    with pytest.raises(ValueError, match="greater than 0, got 0 at size 1"):
        curve.slope()
    assert curve.slope(min_size=2).value == 0.0
    assert curve.mean()[0] == 0.5
    for bad in (np.nan, np.inf):
        curve = rl.study.SizeCurve((1, 2, 4), (ONES, ONES, np.array([1.0, bad])))
        message = f"SizeCurve.values must be finite, got {bad} in trial 1 at size 4"
        with pytest.raises(ValueError, match=message):
            curve.slope()
        assert not np.isfinite(curve.mean()[2])


BAD = {
    "values must hold one array for each of the 2 sizes, got 1": ((1, 2), (ONES,)),
    "at least one trial at size 2, got shape (2, 2)": ((1, 2), (ONES, np.ones((2, 2)))),
    "at least one trial at size 2, got shape (0,)": ((1, 2), (ONES, np.ones(0))),
    "at least one trial at size 2, got shape ()": ((1, 2), (ONES, np.float64(1.0))),
    "values must be real numbers, got complex128 at size 1": ((1,), ([1.0 + 1j],)),
    "values must be a sequence of arrays, got None": ((1,), None),
    "sizes must differ from each other, got (4, 4)": ((4, 4), (ONES, ONES)),
    "sizes must be a whole number of at least 1, got 0": ((0, 4), (ONES, ONES)),
    "sizes must be a whole number of at least 1, got 1.5": ((1.5, 4), (ONES, ONES)),
    "sizes must be an instance of Sequence, got 4": (4, (ONES,)),
}  # fmt: skip


@pytest.mark.parametrize(("message", "case"), BAD.items(), ids=list(BAD))
def test_a_curve_that_makes_no_sense(message, case):
    with pytest.raises(ValueError, match="^SizeCurve.*" + re.escape(message)):
        rl.study.SizeCurve(*case)


def test_error_of_lists_and_integers_is_that_of_arrays():
    outputs, reference = [[1, 2], [4, 8], [0, 3]], [[2, 2], [1, 9], [1, 1]]
    for kind in (list, np.asarray, unsigned, jnp.asarray):
        value = rl.mean_absolute_error(kind(outputs), kind(reference), burn_in=1)
        assert value == (3 + 1 + 1 + 2) / 4


def unsigned(values):
    """Differences of unsigned integers would wrap around."""
    return np.asarray(values, np.uint8)


def test_error_is_traced_and_batched():
    generator = np.random.default_rng(0)
    outputs, reference = generator.normal(size=(2, 3, 5, 4))
    expected = np.abs(outputs - reference)[:, 2:].mean(axis=(1, 2))
    compiled = jax.jit(lambda *each: rl.mean_absolute_error(*each, burn_in=2))
    for value in (
        compiled(outputs, reference),
        rl.mean_absolute_error(outputs, reference, burn_in=2),
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("message", "outputs", "reference"),
    [
        ("outputs must be numeric, got 'abc'", "abc", [[1.0]]),
        ("outputs must be finite, got nan at index (0, 1)", [[1.0, np.nan]], [[1.0, 1.0]]),
        ("reference must be numeric, got None", [[1.0]], None),
        ("reference must be numeric", [[1.0], [1.0]], [[1.0], [1.0, 2.0]]),
        ("reference must have shape (1, 1), got shape (1, 2)", [[1.0]], [[1.0, 2.0]]),
        ("outputs must have shape (..., time, latents), got shape (2,)", [1.0, 2.0], [1.0, 2.0]),
        ("outputs must not be empty, got shape (0, 2)", np.ones((0, 2)), np.ones((0, 2))),
    ],
)  # fmt: skip
def test_errors_of_what_are_no_outputs(message, outputs, reference):
    with pytest.raises(ValueError, match=re.escape(message)):
        rl.mean_absolute_error(outputs, reference)
