"""Linear theory of other neurons, layers and precisions; and of a population whose theory is written down elsewhere."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl
from tests.analysis.test_states import excited

DT = 1e-3
ESCAPE = rl.ExponentialEscape(60.0)
SRM0 = rl.SRM0(10e-3, ESCAPE, rl.ExponentialRefractory(3.0, 6e-3, 2e-3, 12e-3))
FREQUENCIES = np.array([20.0, 100.0, 300.0])


def test_a_homogeneous_population_is_the_closed_form():
    """With a dead time D alone: A = rho m, dm/dt = A(t - D) - A(t), m being the part that may fire (Gerstner 2000)."""
    dead, tau_m, dt = 4e-3, 10e-3, 1e-4
    # (A last bin at the dead time itself would begin half a step early.)
    refractory = rl.ExponentialRefractory(0.0, 1.0, dead, dead + 2.0 * dt)
    ones = np.ones((2, 1))
    layer = rl.Layer(rl.SRM0(tau_m, ESCAPE, refractory), ones, ones, 0.5)
    at = rl.analysis.stationary_state(layer, [0.0], dt=dt)
    gain = rl.analysis.transfer_function(layer, FREQUENCIES, at=at)[:, 0, 0]
    rate = 60.0 * np.exp(0.5)
    alive = 1.0 / (1.0 + rate * dead)
    s = 2j * np.pi * FREQUENCIES
    expected = rate * alive / (1.0 + rate * (1.0 - np.exp(-s * dead)) / s)
    expected = expected / (1.0 + s * tau_m)
    # Of second order: (2 pi f dt)^2 / 12 and the like, relative.
    error = np.abs(gain / expected - 1.0)
    assert np.all(error < 0.1 * np.abs(s * dt) ** 2 + 1e-4)


@pytest.mark.slow
def test_spikes_follow_a_sinusoid():
    neurons, steps, size, frequency = 5000, 4000, 0.2, 50.0
    ones = np.ones((neurons, 1))
    bias = np.random.default_rng(0).normal(size=neurons)
    network = rl.Network([rl.Layer(SRM0, ones, ones, bias)])
    at = rl.analysis.stationary_state(network, [0.0], dt=DT)
    wave = np.exp(2j * np.pi * frequency * DT * np.arange(steps))
    run = rl.simulate(
        network,
        size * DT * wave.real[:, None],
        rl.TimeGrid(DT, steps),
        rl.Spiking(),
        key=jax.random.key(1),
        initial=at.state(network),
    )
    late = slice(steps // 4, None)
    rate = np.asarray(run.rates[0])[late]
    found = 2.0 * np.mean(np.conj(wave[late]) * rate) / size
    gain = rl.analysis.transfer_function(network, [frequency], at=at)[0, 0, 0]
    power = rl.analysis.spectrum(network, [frequency], at=at).rates[0][0]
    # Of a real and an imaginary part; terms of third order are size^2 / 8 of it.
    error = np.sqrt(2.0 * float(power) / (len(rate) * DT)) / size
    apart = abs(found - complex(gain))
    assert apart < 4.0 * error + size**2 / 8.0 * abs(gain)
    static = rl.analysis.transfer_function(
        network, [frequency], at=at, dynamics=rl.ConventionalRate()
    )[0, 0, 0]
    assert abs(found - complex(static)) > 5.0 * error + size**2 * abs(gain)


@pytest.mark.slow
def test_a_mixture_is_the_sum_of_its_types():
    lif = rl.LIF(5e-3, ESCAPE, -1.0, 2e-3, 12e-3)
    kind = np.array([0, 1, 1, 0, 1])
    generator = np.random.default_rng(0)
    encoder, decoder = generator.normal(size=(2, 5, 2))
    bias = generator.normal(size=5)

    def gain_of(neuron, which):
        layer = rl.Layer(neuron, encoder[which], decoder[which], bias[which])
        at = rl.analysis.stationary_state(layer, [0.3, -0.2], dt=DT)
        gain = rl.analysis.transfer_function(layer, FREQUENCIES, at=at)
        return len(bias[which]) * np.asarray(gain)

    whole = gain_of(rl.Mixture([SRM0, lif], kind), slice(None))
    parts = gain_of(SRM0, kind == 0) + gain_of(lif, kind == 1)
    np.testing.assert_allclose(whole, parts, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_a_streamed_layer_is_the_stored_one():
    network = rl.streamed_relay_network(
        SRM0, num_neurons=40, num_latents=2, depth=2, key=jax.random.key(0)
    )
    results = []
    for each in (network, network.stored()):
        at = rl.analysis.stationary_state(each, [0.3, -0.2], dt=DT)
        gain = rl.analysis.transfer_function(each, FREQUENCIES, at=at)
        results.append((gain, rl.analysis.spectrum(each, FREQUENCIES, at=at).outputs))
    for streamed, stored in zip(*results, strict=True):
        np.testing.assert_array_equal(streamed, stored)


@pytest.mark.slow
def test_single_precision():
    """The threshold of a switch, at which one real mode grows."""
    found = []
    for dtype in (jnp.float32, jnp.float64):
        layer = jax.tree.map(
            lambda leaf, dtype=dtype: (
                leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf
            ),
            excited(4.0),
        )
        at = rl.analysis.stationary_state(layer, dt=DT, start=[0.6])
        modes = rl.analysis.stability(layer, at=at)
        assert modes.margin.dtype == at.rates[0].dtype == dtype
        assert modes.is_certain
        assert modes.kind == "saddle-node"
        assert modes.num_growing == 1
        found.append([at.feedback[0], modes.margin])
    np.testing.assert_allclose(*found, rtol=1e-3)


@pytest.mark.slow
def test_adaptation_has_a_stationary_state_alone():
    neuron = rl.AdaptiveSRM(10e-3, ESCAPE)
    ones = np.ones((5, 1))
    layer = rl.Layer(neuron, None, ones, 0.0, rl.Feedback(-0.01 * ones, ones, 2e-3))
    at = rl.analysis.stationary_state(layer, dt=DT)
    assert at.succeeded
    for refused in (
        lambda: rl.analysis.stability(layer, at=at),
        lambda: rl.analysis.transfer_function(layer, [1.0], at=at),
        lambda: rl.analysis.spectrum(layer, [1.0], at=at),
        lambda: rl.analysis.neuron_spectra(layer, [1.0], at=at),
        lambda: rl.analysis.fano_factor(layer, [DT], at=at),
    ):
        with pytest.raises(ValueError, match=r"layers\[0\].neuron must .*last spike"):
            refused()
