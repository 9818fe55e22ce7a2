"""Mistakes that run give one line of warning, at the caller's own line; the library's defaults give none."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

KEY, GRID, EYE = jax.random.key(0), rl.TimeGrid(1e-3, 200), np.eye(2)
NETWORK = rl.Network([rl.Layer(rl.SRM0(), EYE, EYE, 1.0)])
# Whole periods: mean 0, variance 1/2.
CURRENT = np.sin(2.0 * np.pi / 50.0 * np.arange(200.0)[:, None] + np.array([0.0, 1.0]))


@pytest.fixture
def compile_nothing(monkeypatch):
    class Run:
        succeeded = np.ones(1, bool)

    monkeypatch.setattr("ratelike._simulate._simulate", lambda *args: Run)
    monkeypatch.setattr(
        "ratelike._simulate._with_final", lambda trajectory, *rest: trajectory
    )


simulated = pytest.mark.usefixtures("compile_nothing")


def simulate(network, increments):
    return rl.simulate(network, increments, GRID, rl.GeneralisedRate())


MILLISECONDS = {
    "SRM0.tau_m is 10 s": lambda: rl.SRM0(10.0),
    "LIF.tau_m is 20 s": lambda: rl.LIF([10e-3, 20.0]),
    "AdaptiveSRM.tau_m is 10 s": lambda: rl.AdaptiveSRM(10),
    "ExponentialRefractory.tau is 20 s": lambda: rl.ExponentialRefractory(tau=20.0),
    "AlphaRefractory.tau is 5 s": lambda: rl.AlphaRefractory(tau=5.0),
    "LIF.dead_time is 2 s": lambda: rl.LIF(dead_time=2.0, memory=2.0),
    "WienerDrive.tau_m is 10 s": lambda: rl.WienerDrive(1, tau_m=10.0, key=KEY),
    "Network.output_tau_m is 10 s": lambda: rl.Network(NETWORK.layers, 10.0),
}


@pytest.mark.parametrize(
    ("message", "make"), MILLISECONDS.items(), ids=list(MILLISECONDS)
)
def test_milliseconds(message, make):
    with pytest.warns(UserWarning, match=f"{message}: times are in seconds") as caught:
        make()
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_time_constant_that_is_traced_is_not_looked_at():
    jax.jit(lambda tau_m: rl.SRM0(tau_m).tau_m)(10.0)


@simulated
def test_a_current_without_its_time_step():
    # A unit sine as dX means a current of 1 / dt; its mean over 2 tau_m = 20 steps of 50 is less by sin(0.4 pi) / (20 sin(0.02 pi)).
    with pytest.warns(
        UserWarning,
        match=r"increments move the potential by about 536 esc.*SignalDrive",
    ) as caught:
        simulate(NETWORK, CURRENT)
    assert caught[0].filename == __file__
    simulate(NETWORK, CURRENT * GRID.dt)
    simulate(NETWORK, 10.0 * CURRENT * GRID.dt)


@simulated
def test_a_path_of_the_signal_in_place_of_its_integral():
    times = np.arange(201) * GRID.dt

    def path(values):
        return diffrax.LinearInterpolation(jnp.asarray(times), jnp.asarray(values))

    step = np.where(times < 0.08, 0.0, 1.5)[:, None] * np.ones(2)
    # A step of x as a step of X is a pulse of 1.5 / 20 ms over two membrane time constants.
    with pytest.warns(
        UserWarning, match=r"path given as incr.* about 75 esc.*SignalDrive"
    ) as caught:
        simulate(NETWORK, path(step))
    assert caught[0].filename == __file__
    simulate(NETWORK, path(np.cumsum(step, axis=0) * GRID.dt))
    simulate(NETWORK, rl.SignalDrive(step, dt=GRID.dt))


@simulated
def test_neurons_that_always_fire():
    def network(bias=1.0, feedback=None, **escape):
        neuron = rl.SRM0(escape=rl.ExponentialEscape(**escape))
        return rl.Network([rl.Layer(neuron, EYE, EYE, bias, feedback)])

    with pytest.warns(UserWarning, match="lies 51 escape widths above threshold"):
        simulate(network(threshold=-50.0), 0.0 * CURRENT)
    # A sharp threshold is far away in widths, and refractoriness still counts.
    simulate(network(width=0.01), 0.0 * CURRENT)
    # Inhibition from outside or within may bring the potential down.
    simulate(network(threshold=-50.0), np.full_like(CURRENT, -45.0 * GRID.dt))
    simulate(network(threshold=-50.0, feedback=rl.Feedback(EYE, EYE)), 0.0 * CURRENT)
