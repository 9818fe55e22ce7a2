"""Synapses by themselves, against integrals of their kernels, derivatives by differences, and the gain of a relay network."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

import ratelike as rl
from ratelike._signal._synapse import as_synapse

pytestmark = pytest.mark.usefixtures("any_ranks")  # private functions are called

RISE, DECAY = 1.5e-3, 6e-3


def exponential(s):
    return np.exp(-s / DECAY) / DECAY


def alpha(s):
    return s * np.exp(-s / DECAY) / DECAY**2


def difference(s):
    return (np.exp(-s / DECAY) - np.exp(-s / RISE)) / (DECAY - RISE)


KINDS = {
    "exponential": (rl.ExponentialSynapse(DECAY), exponential),
    "alpha": (rl.AlphaSynapse(DECAY), alpha),
    "double exponential": (rl.DoubleExponentialSynapse(RISE, DECAY), difference),
    "exchanged": (rl.DoubleExponentialSynapse(DECAY, RISE), difference),
    "equal": (rl.DoubleExponentialSynapse(DECAY, DECAY), alpha),
}


def run(synapse, increments, dt):
    start = synapse.initial(increments.shape[1:], increments.dtype, dt)
    return synapse(start, increments, dt)


@pytest.mark.parametrize("dt", [4e-3, 1e-3, 0.1e-3])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_step_of_the_input_becomes(kind, dt):
    """A signal 1/dt for one step, through the kernel, integrated over each step: exact, and of area one."""
    synapse, kernel = KINDS[kind]
    num_steps = round(0.2 / dt)
    impulse = jnp.zeros((num_steps, 1)).at[0].set(1.0)
    out = np.asarray(run(synapse, impulse, dt)[1])[:, 0]

    def overlap(s, step):  # of the moments of input and output that are s apart
        return max(0.0, 1.0 - abs(s / dt - step))

    for step in (0, 1, 2, 5, 17):
        ends = [max(0.0, (step + shift) * dt) for shift in (-1, 0, 1)]
        pieces = [
            integrate.quad(lambda s: kernel(s) * overlap(s, step), *piece)[0]  # noqa: B023
            for piece in itertools.pairwise(ends)
        ]
        np.testing.assert_allclose(out[step], sum(pieces), rtol=1e-10, atol=1e-15)
    assert out.sum() == pytest.approx(1.0, abs=1e-12)


PER_LATENT = [
    rl.ExponentialSynapse([5e-3, 1e-3, 20e-3]),
    rl.DoubleExponentialSynapse([1e-3, 2e-3, 3e-3], 3e-3),
    rl.Delay([1e-3, 0.0, 3e-3]),
    [rl.Delay(2e-3), rl.AlphaSynapse(3e-3)],
]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_pieces_are_the_whole_bit_for_bit(dtype):
    synapse = as_synapse("synapse", [*PER_LATENT[:3], *PER_LATENT[3]], 3)
    synapse = jax.tree.map(lambda leaf: leaf.astype(dtype), synapse)
    increments = jax.random.normal(jax.random.key(0), (30, 3), dtype)
    stretch = jax.jit(lambda synapse, state, x: synapse(state, x, 1e-3))
    state = synapse.initial((3,), dtype, 1e-3)
    end, whole = stretch(synapse, state, increments)
    parts, first = [], 0
    for length in (1, 1, 10, 17, 1):
        state, out = stretch(synapse, state, increments[first : first + length])
        parts.append(out)
        first += length
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    jax.tree.map(np.testing.assert_array_equal, state, end)


def test_latents_and_signals_side_by_side_are_filtered_by_themselves():
    dt, generator = 1e-3, np.random.default_rng(0)
    increments = jnp.asarray(generator.normal(size=(20, 4, 3)))
    alone = [
        [rl.ExponentialSynapse(tau) for tau in (5e-3, 1e-3, 20e-3)],
        [rl.DoubleExponentialSynapse(tau, 3e-3) for tau in (1e-3, 2e-3, 3e-3)],
    ]
    for synapse, of_latents in zip(PER_LATENT, alone, strict=False):
        out = run(synapse, increments, dt)[1]
        for latent, own in enumerate(of_latents):
            theirs = run(own, increments[:, 0, latent : latent + 1], dt)[1]
            np.testing.assert_allclose(out[:, 0, latent], theirs[:, 0], rtol=1e-12)
    out = np.asarray(run(PER_LATENT[2], increments, dt)[1])
    for latent, steps in enumerate((1, 0, 3)):
        assert not out[:steps, :, latent].any()
        np.testing.assert_array_equal(
            out[steps:, :, latent], increments[: 20 - steps, :, latent]
        )
    both = run(as_synapse("synapse", PER_LATENT[3], 3), increments, dt)[1]
    one_by_one = run(rl.AlphaSynapse(3e-3), increments, dt)[1]
    np.testing.assert_allclose(both[2:], one_by_one[:-2], rtol=1e-12)


def test_derivatives_by_time_constants():
    """Central differences of relative step 10^-4: errors of 10^-8; also where rise and decay are equal."""
    increments = jnp.asarray(np.random.default_rng(0).normal(size=(30, 1)))
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(30, 1)))

    @jax.jit
    def loss(taus):
        synapses = (
            rl.ExponentialSynapse(taus[0]),
            rl.AlphaSynapse(taus[1]),
            rl.DoubleExponentialSynapse(taus[2], taus[3]),
        )
        sequence = as_synapse("synapse", synapses, 1)
        return jnp.vdot(weights, run(sequence, increments, 1e-3)[1])

    derivative = jax.jit(jax.grad(loss))
    for taus in ([5e-3, 2e-3, 1e-3, 4e-3], [5e-3, 2e-3, 3e-3, 3e-3]):
        taus = jnp.asarray(taus)
        gradient = derivative(taus)
        for index, slope in enumerate(gradient):
            step = 1e-4 * taus[index]
            ends = [loss(taus.at[index].add(sign * step)) for sign in (1.0, -1.0)]
            central = (ends[0] - ends[1]) / (2.0 * step)
            assert float(slope) == pytest.approx(float(central), rel=1e-6)


@pytest.mark.parametrize("kind", ["exponential", "alpha", "double exponential"])
def test_any_time_constant_gives_finite_values_and_derivatives(kind):
    """From far below a step, where nothing is filtered, to where nothing passes."""
    make = {
        "exponential": rl.ExponentialSynapse,
        "alpha": rl.AlphaSynapse,
        "double exponential": lambda tau: rl.DoubleExponentialSynapse(tau, 5e-3 * tau),
    }[kind]
    increments = jnp.ones((5, 1), jnp.float32)

    @jax.jit
    @jax.value_and_grad
    def last(tau):
        return run(make(tau), increments, 1e-3)[1][-1, 0]

    for tau, passed in ((1e-30, 1.0), (1e-9, 1.0), (1e9, 0.0), (1e30, 0.0)):
        value, slope = last(jnp.float32(tau))
        assert float(value) == pytest.approx(passed, abs=1e-3)
        assert np.isfinite(slope)


def test_what_makes_no_sense_is_refused():
    for call, message in (
        (lambda: rl.ExponentialSynapse(0.0), "ExponentialSynapse.tau .* got 0.0"),
        (lambda: rl.AlphaSynapse([1e-3, -1e-3]), "AlphaSynapse.tau .* index"),
        (lambda: rl.DoubleExponentialSynapse(np.nan, 1.0), "Synapse.rise .* nan"),
        (
            lambda: rl.DoubleExponentialSynapse([1e-3], [1e-3, 1e-3]),
            r"DoubleExponentialSynapse.decay must have shape \(1\)",
        ),
        (lambda: rl.Delay(-1e-3), "Delay.duration must be .* at least 0, got -0.001"),
        (lambda: rl.Delay([[1e-3]]), r"Delay.duration must have shape \(latents\)"),
        (lambda: rl.Delay(1e-3).check("name", 0.4e-3), "name.duration .* multiple"),
        (lambda: as_synapse("it", [], 2), "it must hold at least one synapse"),
        (lambda: as_synapse("it", [1.0], 2), r"it\[0\] must be an instance of Abs"),
        (lambda: as_synapse("it", rl.Delay([0.0]), 2), "it must be for 2 latents"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# Relay networks

TAU_M = 10e-3


def test_encoders_make_up_for_what_synapses_take():
    """White noise through membrane and synapse in closed form; r, d: time constants over that of the membrane."""

    def growth(synapse):
        made = [
            rl.relay_network(
                rl.SRM0(TAU_M),
                num_neurons=2,
                num_latents=3,
                depth=1,
                key=jax.random.key(0),
                synapse=each,
            ).layers[0]
            for each in (None, synapse)
        ]
        np.testing.assert_array_equal(made[0].decoder, made[1].decoder)
        return np.asarray(made[1].encoder / made[0].encoder)

    tau = np.array([1e-4, 5e-3, 300e-3])
    r, d = tau / TAU_M, 0.7
    for synapse, variance in (
        (rl.ExponentialSynapse(tau), 1.0 / (1.0 + r)),
        (rl.AlphaSynapse(tau), (1.0 + r / 2.0) / (1.0 + r) ** 2),
        (
            (rl.DoubleExponentialSynapse(tau, d * TAU_M), rl.Delay(1e-3)),
            (r + d + r * d) / ((1.0 + r) * (1.0 + d) * (r + d)),
        ),
    ):
        expected = np.broadcast_to(variance**-0.5, (2, 3))
        np.testing.assert_allclose(growth(synapse), expected, rtol=1e-9)


def test_layers_keep_the_variance_of_their_potentials():
    """Linear rates of one latent, which hand on kappa * dX exactly: every layer has the variance that it has without synapses.

    kappa^l of white noise has the variance 1, 1/2, 3/8. Of T steps it is known to about sqrt(2 tau_c / T), tau_c a few
    tau_m; steps of 2 ms take (dt / tau_m)^2 / 12 < 0.4% from it in each layer.
    """
    tau, grid = 15e-3, rl.TimeGrid(2e-3, 40_000)
    noise = np.random.default_rng(0).normal(size=(grid.num_steps, 1))
    signal = jnp.asarray(np.sqrt(2.0 * TAU_M * grid.dt) * noise)
    network = rl.relay_network(
        rl.SRM0(TAU_M),
        num_neurons=1,
        num_latents=1,
        depth=3,
        key=jax.random.key(1),
        synapse=rl.ExponentialSynapse(tau),
    )
    plain = rl.relay_network(
        rl.SRM0(TAU_M), num_neurons=1, num_latents=1, depth=3, key=jax.random.key(1)
    )
    for with_it, without, variance in zip(
        network.layers, plain.layers, (1.0, 1 / 2, 3 / 8), strict=True
    ):
        gain = with_it.encoder / without.encoder
        filtered = run(with_it.synapse, signal, grid.dt)[1]
        latents = gain * rl.membrane_traces(filtered, TAU_M, grid.dt)
        standard_error = np.sqrt(2.0 * 5.0 * tau / grid.duration)
        assert float(jnp.var(latents)) == pytest.approx(
            variance, rel=3.3 * standard_error + 0.01
        )
        signal = latents * grid.dt
