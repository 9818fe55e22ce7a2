"""Stationary states, branches, spectra, and what is refused."""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from scipy import signal

import ratelike as rl

DT, NEURONS = 1e-3, 20
NEURON = rl.SRM0(
    10e-3, rl.ExponentialEscape(20.0), rl.ExponentialRefractory(3.0, 6e-3, 3e-3, 15e-3)
)
GENERATOR = np.random.default_rng(1)
ROWS = 1.0 + 0.1 * GENERATOR.normal(size=(NEURONS, 1))
BIAS = -2.0 + 0.3 * GENERATOR.normal(size=NEURONS)


def excited(gain):
    """A switch: all neurons excite each other."""
    feedback = rl.Feedback(gain * ROWS, 0.03 * ROWS, 2e-3, True)
    return rl.Layer(NEURON, None, ROWS, BIAS, feedback)


def excess(gain, returned):
    """y - F(y), written out in one dimension."""
    rows = gain * ROWS[:, 0]
    rates = rl.stationary_rate(NEURON, BIAS + rows * returned, DT)
    return returned - 0.03 * np.mean(ROWS[:, 0] * np.asarray(rates))


def test_all_states_of_a_switch():
    states = rl.analysis.stationary_states(excited(4.0), dt=DT)
    found = np.asarray([float(state.feedback[0]) for state in states])
    line = np.linspace(0.0, 12.0, 4001)
    values = np.asarray([excess(4.0, y) for y in line[::40]])
    signs = np.flatnonzero(np.diff(np.sign(values)))
    assert len(found) == len(signs) == 3
    for one, begin in zip(found, line[::40][signs], strict=True):
        assert begin < one < begin + 40 * line[1]
    stable = [rl.analysis.stability(excited(4.0), at=one).is_stable for one in states]
    assert stable == [True, False, True]


def test_a_branch_folds():
    branch = rl.analysis.continuation(
        excited, np.linspace(3.0, 12.0, 6), dt=DT, max_points=16
    )
    fold = branch.bifurcations[0]
    assert fold.kind == "saddle-node"
    # Past the fold the branch is unstable and its values go down again.
    unstable = np.flatnonzero(~branch.is_stable)
    assert unstable[0] > 1
    assert branch.values[unstable[-1]] < fold.value
    for value, state in zip(branch.values, branch.states, strict=True):
        assert abs(excess(value, float(state.feedback[0]))) < 1e-7
    matplotlib.use("Agg")
    ax = rl.plot.bifurcation(branch)
    assert len(ax.lines) == 2 + len(branch.bifurcations)


@pytest.mark.slow
def test_spectra_are_those_of_spikes():
    neurons, steps, length = 500, 8000, 200
    generator = np.random.default_rng(2)
    rows = generator.normal(size=(neurons, 1)) + 1.0
    feedback = rl.Feedback(-0.5 * rows, 0.02 * rows, 2e-3)
    decoder = 0.05 * generator.normal(size=(neurons, 2))
    first = rl.Layer(NEURON, None, decoder, 1.0, feedback)
    second = rl.Layer(NEURON, 3.0 * generator.normal(size=(neurons, 2)), decoder, 1.0)
    network = rl.Network([first, second])
    at = rl.analysis.stationary_state(network, dt=DT)
    frequencies = np.arange(1, length // 2) / (length * DT)
    expected = rl.analysis.spectrum(network, frequencies, at=at)
    run = rl.simulate(
        network,
        None,
        rl.TimeGrid(DT, steps),
        rl.Spiking(),
        key=jax.random.key(3),
        initial=at.state(network),
    )
    pairs = [
        (run.rates[0], expected.rates[0]),
        (run.rates[1], expected.rates[1]),
        (run.outputs[:, 0], expected.outputs[:, 0, 0].real),
        (run.increments[0][:, 1] / DT, expected.signals[0][:, 1, 1].real),
    ]
    # Bands of 33 frequencies and 40 pieces: a standard error of 2.8%; 12 of them at 4 of these fail in 1 of 1300 keys.
    for trace, power in pairs:
        _, found = signal.welch(
            np.asarray(trace),
            1.0 / DT,
            window="boxcar",
            nperseg=length,
            noverlap=0,
            return_onesided=False,
        )
        ratio = found[1 : length // 2] / np.asarray(power)
        bands = ratio.reshape(3, 33).mean(axis=1)
        np.testing.assert_allclose(bands, 1.0, atol=4.0 / np.sqrt(33 * steps / length))


def test_what_is_refused():
    layer = excited(0.0)
    at = rl.analysis.stationary_state(layer, dt=DT)
    with pytest.raises(ValueError, match=r"at most 1 / \(2 dt\) = 500 Hz, got 501"):
        rl.analysis.transfer_function(layer, [501.0], at=at)
    with pytest.raises(ValueError, match="a stationary state of the network, got one"):
        rl.analysis.stability(excited(3.0), at=at)
    alone = rl.Layer(NEURON, None, ROWS, BIAS)
    without = rl.analysis.stationary_state(alone, dt=DT)
    with pytest.raises(ValueError, match="network must have feedback"):
        rl.analysis.stability(alone, at=without)
    with pytest.raises(ValueError, match="must be GeneralisedRate"):
        rl.analysis.stability(layer, at=at, dynamics=rl.Spiking())
    gain = np.ones((1, 1, 1), complex)
    matplotlib.use("Agg")
    assert len(rl.plot.bode([1.0], {"gain": jnp.asarray(gain)}).lines) == 1
