"""Drives of signals: the membrane under each against its closed form, tables against integrals, pieces of a longer run."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import ratelike as rl

TAU_M, KEY = 10e-3, jax.random.key(0)
STEPS = [0.2e-3, 1e-3, 2e-3]  # s
OMEGA = 2.0 * np.pi * 8.0


def grid_of(duration, dt):
    return rl.TimeGrid(dt, round(duration / dt))


def membrane(drive, grid):
    traces = rl.membrane_traces(drive.increments(grid), TAU_M, grid.dt)
    return np.asarray(traces)[:, 0]


def sine(t):
    return np.sin(OMEGA * t)


def ramp(t):
    return 20.0 * t


def step(t):
    return np.where(t < 0.02, 0.0, 1.5)


def after_step(t):
    return 1.5 * np.where(t < 0.02, 0.0, -np.expm1(-(t - 0.02) / TAU_M))


def after_ramp(t):
    return 20.0 * (t + TAU_M * np.expm1(-t / TAU_M))


def after_sine(t):
    """From rest at t = 0."""
    factor = 1.0 / (1.0 + 1j * OMEGA * TAU_M)
    return np.imag(factor * (np.exp(1j * OMEGA * t) - np.exp(-t / TAU_M)))


# A signal that is held in each step at its mean lags by nothing; what is left is dt^2 / 12 tau_m times its slope.
SIGNALS = {
    "step": (step, after_step, 0.0),
    "ramp": (ramp, after_ramp, 20.0),
    "sine": (sine, after_sine, OMEGA),
}


@pytest.mark.parametrize("dt", STEPS)
@pytest.mark.parametrize("name", SIGNALS)
def test_membrane_under_a_function_and_under_its_table(name, dt):
    function, after, slope = SIGNALS[name]
    grid = grid_of(0.2, dt)
    expected = after(grid.times[1:])
    bound = 1.05 * slope * dt**2 / (12.0 * TAU_M) + 1e-12
    y = membrane(rl.FunctionDrive(function), grid)
    np.testing.assert_allclose(y, expected, rtol=0, atol=bound)
    # 1 kHz: a sine between two samples is off a line by (omega h)^2 / 8, and a membrane's mean of it by 2/3 of that.
    samples = function((np.arange(201) + 1e-9) * 1e-3)
    line = rl.SampleAndHold() if name == "step" else rl.PiecewiseLinear()
    y = membrane(rl.SignalDrive(samples, dt=1e-3, interpolation=line), grid)
    bound += (OMEGA * 1e-3) ** 2 / 12.0 if name == "sine" else 1e-7
    np.testing.assert_allclose(y, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("dt", STEPS)
def test_membrane_under_spikes_is_a_sum_of_exponentials(dt):
    times = np.array([0.05, 0.0101, 0.0333, 0.0333, 0.07])
    drive = rl.SpikeTrainDrive(times, [1, 0, 0, 1, 1], [[20e-3], [-5e-3]])
    grid = grid_of(0.1, dt)
    t = grid.times[1:, None]
    areas = np.array([-5e-3, 20e-3, 20e-3, -5e-3, -5e-3])
    since = np.maximum(t - times, 0.0)
    pulses = areas / TAU_M * np.exp(-since / TAU_M) * (t > times)
    # Within its step a spike may be anywhere: its time is known to dt. Compared where a step holds no spike.
    apart = np.all((t <= times) | (t > times + dt), axis=1)
    error = np.abs(membrane(drive, grid) - pulses.sum(axis=1))[apart]
    assert error.max() < np.abs(areas).sum() / TAU_M * dt / TAU_M
    assert error.max() > 0.0
    assert apart.sum() > 40


@pytest.mark.parametrize("dt", [0.1e-3, 0.7e-3, 1e-3])
def test_a_spike_at_a_grid_point_falls_in_the_step_that_begins_there(dt):
    steps = np.arange(2000)
    for times in (steps * dt, np.cumsum(np.full(2000, dt)) - dt):
        drive = rl.SpikeTrainDrive(times, np.zeros(2000), [[1.0]])
        np.testing.assert_array_equal(drive.increments(rl.TimeGrid(dt, 2000)), 1.0)


def test_potentials_settle_at_the_bias_plus_the_encoded_signal():
    """The recorded potential of a step lies between those at its ends, which the closed form knows."""
    encoder, bias = np.array([[0.5, -1.0], [1.0, 2.0]]), np.array([0.3, -0.2])
    network = rl.Network([rl.Layer(rl.SRM0(TAU_M), encoder, encoder, bias)])
    x = np.array([1.0, 0.5])
    drive = rl.FunctionDrive(lambda t: np.broadcast_to(x, (len(t), 2)))
    grid = rl.TimeGrid(1e-3, 80)
    run = rl.simulate(network, drive, grid, rl.ConventionalRate(), record={0: range(2)})
    rise = -np.expm1(-grid.times[:, None] / TAU_M) * (encoder @ x)
    ends = np.sort(np.stack([bias + rise[:-1], bias + rise[1:]]), axis=0)
    recorded = np.asarray(run.recordings[0].potential)
    assert np.all((recorded >= ends[0] - 1e-12) & (recorded <= ends[1] + 1e-12))
    np.testing.assert_allclose(recorded[-1], bias + encoder @ x, atol=1e-3)


TIMES = np.cumsum(np.random.default_rng(0).uniform(0.1e-3, 5e-3, 300)) - 4e-3
VALUES = np.random.default_rng(1).normal(size=(300, 2))


@pytest.mark.parametrize("dt", [0.2e-3, 0.7e-3, 2e-3, 10e-3])
@pytest.mark.parametrize("line", [rl.SampleAndHold(), rl.PiecewiseLinear()])
def test_a_table_is_integrated_exactly(line, dt):
    """Against differences of its integral from the beginning, for uneven times that meet no step."""
    grid = grid_of(0.6, dt)
    drive = rl.SignalDrive(VALUES, times=TIMES, interpolation=line)
    if isinstance(line, rl.SampleAndHold):
        areas = VALUES[:-1] * np.diff(TIMES)[:, None]
    else:
        areas = 0.5 * (VALUES[:-1] + VALUES[1:]) * np.diff(TIMES)[:, None]
    until = np.concatenate([np.zeros((1, 2)), np.cumsum(areas, axis=0)])
    k = np.searchsorted(TIMES, grid.times, side="right") - 1
    past = (grid.times - TIMES[k])[:, None]
    here = until[k] + VALUES[k] * past
    if isinstance(line, rl.PiecewiseLinear):
        slopes = np.diff(VALUES, axis=0) / np.diff(TIMES)[:, None]
        here += 0.5 * slopes[k] * past**2
    increments = drive.increments(grid)
    np.testing.assert_allclose(increments, np.diff(here, axis=0), rtol=0, atol=1e-15)
    # In single precision nothing is lost to differences of long integrals.
    single = rl.SignalDrive(
        jnp.asarray(VALUES, jnp.float32), times=TIMES, interpolation=line
    ).increments(grid)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, increments, rtol=1e-5, atol=1e-6 * dt)


def test_a_table_can_be_differentiated():
    """A held sample counts for as long as it lasts."""

    def total(values):
        drive = rl.SignalDrive(values, times=TIMES)
        return drive.increments(rl.TimeGrid(0.7e-3, 500)).sum()

    lasts = np.diff(np.clip(np.append(TIMES, np.inf), 0.0, 0.35))
    gradient = jax.jit(jax.grad(total))(jnp.asarray(VALUES))
    np.testing.assert_allclose(gradient, lasts[:, None] * np.ones(2), atol=1e-15)


def test_tables_of_other_packages():
    times, values = np.arange(30) * 1e-3, VALUES[:30]
    grid = rl.TimeGrid(0.4e-3, 60)
    expected = rl.SignalDrive(values, times=times).increments(grid)
    differences = pd.to_timedelta(times, unit="s")
    array = xr.DataArray(values, dims=("time", "latent"), coords={"time": times})
    in_seconds = array.copy()
    in_seconds.time.attrs["units"] = "s"
    for table in (
        pd.DataFrame(values, index=times, columns=["units", "b"]),
        pd.DataFrame(values, index=differences),
        array.transpose("latent", "time"),
        in_seconds,
    ):
        np.testing.assert_allclose(
            rl.SignalDrive(table).increments(grid), expected, rtol=0, atol=1e-15
        )
    one = rl.SignalDrive(pd.Series(values[:, 0], index=times)).increments(grid)
    np.testing.assert_allclose(one, expected[:, :1], rtol=0, atol=1e-15)
    # An index that counts rows is no time.
    counted = rl.SignalDrive(pd.DataFrame(values), dt=1e-3).increments(grid)
    np.testing.assert_allclose(counted, expected, rtol=0, atol=1e-15)


def coloured(num_latents, tau=20e-3, seed=0):
    key = jax.random.key(seed)
    return rl.OrnsteinUhlenbeckDrive(num_latents, tau=tau, std=1.5, key=key)


def test_coloured_noise_is_one_path_at_every_time_step():
    """Also across a full second, and in steps far longer than tau."""
    fine = coloured(3, tau=2e-3).increments(rl.TimeGrid(0.2e-3, 500, 4750))
    for parts in (5, 250):
        grid = rl.TimeGrid(0.2e-3 * parts, 500 // parts, 4750 // parts)
        summed = np.asarray(fine).reshape(-1, parts, 3).sum(axis=1)
        coarse = coloured(3, tau=2e-3).increments(grid)
        np.testing.assert_allclose(summed, coarse, rtol=0, atol=1e-14)


def test_law_of_coloured_noise():
    """Of 3000 independent latents, within 4 standard errors (false-positive rate 10^-4 for each of seven numbers)."""
    dt, tau, n = 2e-3, 20e-3, 3000
    increments = np.asarray(coloured(n).increments(rl.TimeGrid(dt, 40, 480)))
    mean = increments / (1.5 * dt)  # of x over each step, in standard deviations
    s = dt / tau
    variance = 2.0 * (s + np.expm1(-s)) / s**2

    def covariance(lag):  # of means over steps that lie `lag` steps apart
        return (np.expm1(-s) / s) ** 2 * np.exp(-s * (lag - 1))

    def check(products, expected, spread):
        assert abs(np.mean(products) - expected) < 4.0 * spread / np.sqrt(n)

    check(mean[25] ** 2, variance, np.sqrt(2.0))
    for first, lag in ((5, 1), (19, 1), (18, 5), (3, 30)):  # a second ends before 20
        spread = np.sqrt(1.0 + covariance(lag) ** 2)
        check(mean[first] * mean[first + lag], covariance(lag), spread)
    # Differences of neighbours are small, and have a law of their own.
    small = 2.0 * (variance - covariance(1))
    check((mean[30] - mean[31]) ** 2, small, np.sqrt(2.0) * small)
    y = rl.membrane_traces(increments, TAU_M, dt)[-1] / 1.5
    check(np.asarray(y) ** 2, tau / (tau + TAU_M), np.sqrt(2.0))


WHOLE = rl.TimeGrid(0.7e-3, 400)
DRIVES = {
    "table": rl.SignalDrive(VALUES, times=TIMES),
    "lines": rl.SignalDrive(VALUES, dt=1e-3, interpolation=rl.PiecewiseLinear()),
    "function": rl.FunctionDrive(lambda t: np.stack([sine(t), ramp(t)], axis=1)),
    "white": rl.WienerDrive(2, key=KEY),
    "coloured": coloured(2),
    "spikes": rl.SpikeTrainDrive(TIMES[9:], [0, 1, 2] * 97, np.ones((3, 2))),
}
DRIVES["sum"] = 0.3 * DRIVES["white"] - DRIVES["table"] + DRIVES["spikes"]


@pytest.mark.parametrize("name", DRIVES)
def test_pieces_are_the_whole(name):
    whole = DRIVES[name].increments(WHOLE)
    for first, num_steps in ((0, 200), (200, 200)):
        piece = DRIVES[name].increments(rl.TimeGrid(WHOLE.dt, num_steps, first))
        np.testing.assert_array_equal(piece, whole[first : first + num_steps])


def test_a_later_piece_compiles_nothing():
    """Also where it crosses a full second, and the first one does not."""
    later = {"white": 1357, "coloured": 1357, "lines": 157}
    for name in later:
        DRIVES[name].increments(rl.TimeGrid(WHOLE.dt, 200))
    with jax.no_tracing():
        for name, first in later.items():
            DRIVES[name].increments(rl.TimeGrid(WHOLE.dt, 200, first))


def test_sums_multiples_and_latents_side_by_side():
    a, b = DRIVES["table"], DRIVES["spikes"]
    dX, dY = a.increments(WHOLE), b.increments(WHOLE)
    for drive, expected in (
        (a + b, dX + dY),
        (a - b, dX - dY),
        (-a, -dX),
        (2.0 * a, 2.0 * dX),
        (np.float64(2.0) * a * 0.5, dX),
        (np.array([1.0, -1.0]) * a, dX * np.array([[1.0, -1.0]])),
        (jnp.asarray(2.0) * a, 2.0 * dX),
        (rl.JoinedDrive([a, b]), np.concatenate([dX, dY], axis=1)),
    ):
        np.testing.assert_allclose(drive.increments(WHOLE), expected, rtol=1e-15)


def test_a_path_of_a_later_piece_has_absolute_times():
    grid = rl.TimeGrid(1e-3, 3, 500)
    path = rl.GridPath(jnp.asarray([[1.0], [2.0], [4.0]]), grid)
    assert (path.t0, path.t1) == (0.5, 0.503)
    assert float(path.evaluate(0.501, 0.502)[0]) == 2.0
    np.testing.assert_allclose(path.derivative(0.502), [4000.0])


def signal(**change):
    return lambda: rl.SignalDrive(**(dict(values=VALUES, times=TIMES) | change))


def on_grid(drive, num_steps=100, dt=1e-3):
    return lambda: drive.increments(rl.TimeGrid(dt, num_steps))


def function(f):
    return on_grid(rl.FunctionDrive(f))


def spikes(times=(0.1,), channels=(0,), weights=((1.0,),)):
    return lambda: rl.SpikeTrainDrive(times, channels, weights)


NAN_VALUES = np.where(VALUES > 2.4, np.nan, VALUES)
DATES = pd.DataFrame(VALUES, index=pd.date_range("2020", periods=300, freq="ms"))
IN_MS = xr.DataArray(VALUES, dims=("time", "x"), coords={"time": ("time", TIMES, {"units": "ms"})})  # fmt: skip
REFUSED = {
    r"SignalDrive\.values must be finite, got nan at index \(": signal(values=NAN_VALUES),
    r"SignalDrive\.values .*got shape \(300, 2, 1\)": signal(values=VALUES[..., None]),
    r"SignalDrive\.values must be plain numbers .*'mV'": signal(values=IN_MS.assign_attrs(units="mV"), times=None),
    r"times of SignalDrive\.values must be in seconds, got 'ms'": signal(values=IN_MS, times=None),
    r"index of SignalDrive\.values must be seconds .*got dates": signal(values=DATES, times=None),
    r"must have a dimension 'time', got .*\('x', 'time2'\)": signal(values=IN_MS.rename(time="time2").T, times=None),
    r"SignalDrive\.dt or .*, got dt = None, times = None and none": signal(times=None),
    r"SignalDrive\.dt or .*only one.* got dt = 0\.001": signal(dt=1e-3),
    r"SignalDrive\.times must grow .* 0\.1 s and then 0\.1 s at index 2": signal(values=[1.0, 2.0, 3.0], times=[0.0, 0.1, 0.1]),
    r"SignalDrive\.times must have .*300 samples.*got 299": signal(times=TIMES[1:]),
    r"SignalDrive\.times must be finite, got nan": signal(times=np.where(TIMES > 0.2, np.nan, TIMES)),
    r"SignalDrive\.interpolation must be an instance": signal(interpolation="linear"),
    r"table of SignalDrive must cover .*0 to 1 s.* got -0\.0\d* to 0\.\d* s": on_grid(signal()(), 1000),
    r"table of SignalDrive must cover .* got 0\.100121 to": on_grid(signal(times=TIMES + 0.1009)()),
    r"FunctionDrive\.function must return .*\(400,\).* got shape \(\)": function(lambda t: 1.0),
    r"FunctionDrive\.function must be finite, got inf": function(lambda t: np.where(t > 0.05, np.inf, t)),
    r"FunctionDrive\.function must take an array .*np\.where.* ValueError": function(lambda t: 1.0 if t < 0.1 else 0.0),
    r"OrnsteinUhlenbeckDrive\.tau must be from .* got 100000 s": lambda: coloured(1, tau=1e5),
    r"steps from .* for OrnsteinUhlenbeckDrive, got steps of 0\.6 s": on_grid(coloured(1), dt=0.6),
    r"SpikeTrainDrive\.times must be at least 0, got -0\.1 s": spikes(times=[-0.1]),
    r"SpikeTrainDrive\.channels .* 0 to 0, .* got 1": spikes(channels=[1]),
    r"SpikeTrainDrive\.channels .* got 0\.5": spikes(channels=[0.5]),
    r"SpikeTrainDrive\.channels must have shape \(1\), got shape \(2,\)": spikes(channels=[0, 0]),
    r"SpikeTrainDrive\.weights must have shape \(channels, latents\)": spikes(weights=[1.0]),
    r"SumDrive\.drives must have equally many latents, got \[2, 3\]": on_grid(DRIVES["white"] + coloured(3)),
    r"ScaledDrive\.factor must have shape \(2\)": on_grid(np.ones(3) * DRIVES["white"]),
    r"JoinedDrive\.drives\[1\] must be an instance of AbstractDrive": lambda: rl.JoinedDrive([DRIVES["white"], VALUES]),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused(message):
    with pytest.raises(ValueError, match=message) as caught:
        REFUSED[message]()
    assert not re.search(r"\n", str(caught.value))


def test_other_numbers_of_latents_than_the_network_takes():
    network = rl.Network([rl.Layer(rl.SRM0(), np.eye(3), np.eye(3))])
    grid = rl.TimeGrid(1e-3, 10)
    with pytest.raises(ValueError, match=r"\(10, 3\), got shape \(10, 2\)"):
        rl.simulate(network, signal()(), grid, rl.GeneralisedRate())
