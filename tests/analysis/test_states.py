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
    modes = [rl.analysis.stability(excited(4.0), at=one) for one in states]
    assert [one.num_growing for one in modes] == [0, 1, 0]
    assert all(one.is_certain for one in modes)


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


def test_states_from_one_value_to_the_next():
    """Of a conventional rate, whose modes are zeros of a polynomial: slow inhibition that oscillates."""
    ones = np.ones((NEURONS, 1))

    def inhibited(gain):
        feedback = rl.Feedback(-gain * ones, ones, 8e-3, True)
        return rl.Layer(NEURON, None, ones, 8.0, feedback)

    gains = [0.01, 1.0]
    branch = rl.analysis.natural_continuation(
        inhibited, gains, dt=DT, dynamics=rl.ConventionalRate()
    )
    leak = np.exp(-DT / 10e-3)
    for gain, state, modes in zip(
        gains, branch.states, branch.stabilities, strict=True
    ):
        potential = float(state.potentials[0][0])
        ends = rl.stationary_rate(NEURON, potential + np.array([-1e-5, 1e-5]), DT)
        loop = gain * float(ends[1] - ends[0]) / 2e-5
        # 2 z^8 (z - a) + loop (1 - a) (z + 1) = 0
        pushed = loop * (1.0 - leak)
        zeros = np.roots([2.0, -2.0 * leak, *[0.0] * 6, pushed, pushed])
        np.testing.assert_allclose(
            modes.margin, np.log(np.abs(zeros).max()) / DT, rtol=1e-4
        )
    assert list(branch.is_stable) == [True, False]
    assert [one.kind for one in branch.bifurcations] == ["Hopf"]
    with pytest.raises(ValueError, match="values must rise or fall"):
        rl.analysis.natural_continuation(inhibited, [1.0, 1.0], dt=DT)


@pytest.mark.slow
@pytest.mark.parametrize("neurons", [500, 5000])
def test_spectra_are_those_of_spikes(neurons):
    steps, length = 8000, 200
    generator = np.random.default_rng(2)
    # The loop takes nine tenths of slow fluctuations, and makes three of some others.
    rows = 0.3 * generator.normal(size=(neurons, 1)) + 1.0
    feedback = rl.Feedback(-0.2 * rows, rows, 2e-3)
    decoder = 0.05 * generator.normal(size=(neurons, 2))
    first = rl.Layer(NEURON, None, decoder, 5.0, feedback)
    second = rl.Layer(NEURON, 3.0 * generator.normal(size=(neurons, 2)), decoder, 1.0)
    network = rl.Network([first, second])
    at = rl.analysis.stationary_state(network, dt=DT)
    frequencies = np.arange(1, length // 2) / (length * DT)
    expected = rl.analysis.spectrum(network, frequencies, at=at)
    z = np.exp(2j * np.pi * frequencies * DT)
    leak = np.exp(-DT / network.output_tau_m)
    membrane = np.abs((1.0 - leak) / (1.0 - leak / z)) ** 2
    np.testing.assert_allclose(
        expected.outputs,
        np.asarray(expected.signals[1]) * membrane[:, None, None],
        rtol=1e-10,
    )
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
        # Outputs have a steep spectrum, of which these pieces leak several percent.
        (run.increments[1][:, 0] / DT, expected.signals[1][:, 0, 0].real),
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
    with pytest.raises(ValueError, match="layer must be one of the 1 of the network"):
        rl.analysis.stability_margin(layer, at=at, mode=jnp.asarray(1j), layer=1)
    gain = np.ones((1, 1, 1), complex)
    matplotlib.use("Agg")
    assert len(rl.plot.bode([1.0], {"gain": jnp.asarray(gain)}).lines) == 1
