"""Sharp thresholds and strong kernels: a sum of potentials is clamped, never one of its parts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

DT, MEMORY, DEAD_TIME = 1e-3, 40e-3, 2e-3
BIASES = np.array([-1e4, -10.0, 0.0, 1.0, 3.0, 100.0, 1e4])
WIDTHS = (1e-3, 0.02, 0.3, 1.0, 10.0)

ESCAPES = {
    "exponential": (rl.ExponentialEscape, 10.0, lambda x: np.exp(np.minimum(x, 700.0))),
    "sigmoid": (rl.SigmoidEscape, 200.0, lambda x: 1.0 / (1.0 + np.exp(-np.clip(x, -700.0, 700.0)))),
    "softplus": (rl.SoftplusEscape, 20.0, lambda x: np.logaddexp(0.0, x)),
}  # fmt: skip
TABLE = np.linspace(-5.0, 0.0, 41)
KERNELS = {
    "exponential": (
        rl.ExponentialRefractory(5.0, 10e-3, DEAD_TIME, MEMORY),
        lambda a: -5.0 * np.exp(-a / 10e-3),
    ),
    "strong": (
        rl.ExponentialRefractory(120.0, 10e-3, DEAD_TIME, MEMORY),
        lambda a: -120.0 * np.exp(-a / 10e-3),
    ),
    "power law": (
        rl.PowerLawRefractory(5.0, 10e-3, 1.5, DEAD_TIME, MEMORY),
        lambda a: -5.0 * (1.0 + a / 10e-3) ** -1.5,
    ),
    "alpha": (
        rl.AlphaRefractory(5.0, 10e-3, DEAD_TIME, MEMORY),
        lambda a: -5.0 * (a / 10e-3) * np.exp(1.0 - a / 10e-3),
    ),
    "table": (
        rl.TableRefractory(TABLE, 1e-3, DEAD_TIME),
        lambda a: np.interp(a, 1e-3 * np.arange(41), TABLE),
    ),
}


def renewal_rate(f, rate, kernel, width):
    """In NumPy, float64: 1 / mean interval, at each bias."""
    survivor, steps = np.ones(len(BIASES)), np.zeros(len(BIASES))
    for k in range(1, round(MEMORY / DT) + 1):
        age = k * DT
        rho = rate * f((BIASES + kernel(age)) / width)
        rho = rho * (0.5 * (age > DEAD_TIME - 1e-9) + 0.5 * (age > DEAD_TIME + 1e-9))
        p = -np.expm1(-DT * rho)
        if age > MEMORY - 1e-9:
            with np.errstate(divide="ignore"):
                steps = steps + survivor / p
        else:
            steps, survivor = steps + survivor, survivor * (1.0 - p)
    return 1.0 / (DT * steps)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("escape", ESCAPES)
def test_rates_of_all_escapes_kernels_widths_and_biases(escape, kernel):
    """In float32: rounding of (h + eta) / width, at most 10^4 / 10^-3 times 10^-7, moves rates only where it is far off."""
    make, rate, f = ESCAPES[escape]
    refractory, eta = KERNELS[kernel]
    for width in WIDTHS:
        neuron = rl.SRM0(escape=make(rate, 0.0, width), refractory=refractory)
        single = jax.tree.map(lambda x: x.astype(jnp.float32), neuron)
        ours = rl.stationary_rate(single, jnp.asarray(BIASES, jnp.float32), DT)
        exact = renewal_rate(f, rate, eta, width)
        np.testing.assert_allclose(ours, exact, rtol=2e-3, atol=1e-30)


@pytest.mark.parametrize(
    ("width", "bias", "amplitude"),
    [(0.02, 1.0, 5.0), (1e-3, 1.0, 5.0), (1.0, 100.0, 120.0), (10.0, -5.0, 5.0)],
)
def test_spikes_and_rates_agree(width, bias, amplitude):
    """Three dynamics at constant input: within 5 standard errors of the spikes' rate, of 64 neurons over 0.4 s.

    With the exponent clamped before the kernel is added, the first three came to 21 and 8 Hz where spikes gave 27, and
    to 40 instead of 167 Hz.
    """
    neuron = rl.SRM0(
        escape=rl.ExponentialEscape(width=width),
        refractory=rl.ExponentialRefractory(amplitude),
    )
    ones, steps = np.ones((64, 1), np.float32), 600
    network = rl.Network([rl.Layer(neuron, ones, ones, bias)])
    rates = {}
    for dynamics in (rl.Spiking(), rl.GeneralisedRate(), rl.ConventionalRate()):
        run = rl.simulate(
            network,
            np.zeros((steps, 1)),
            rl.TimeGrid(DT, steps),
            dynamics,
            key=jax.random.key(0),
        )
        rates[type(dynamics)] = float(run.rates[0, 200:].mean())
    spiking = rates[rl.Spiking]
    # Intervals are more regular than those of a Poisson process.
    error = max(np.sqrt(spiking / (64 * 0.4)), 0.002 * spiking)
    assert abs(rates[rl.GeneralisedRate] - spiking) < 5.0 * error, rates
    # Of neurons like clocks, all in step since they began together, the density rings on.
    tolerance = 0.05 * rates[rl.ConventionalRate]
    assert abs(rates[rl.GeneralisedRate] - rates[rl.ConventionalRate]) < tolerance


def test_a_kernel_that_has_outgrown_its_neuron_is_told():
    """Whether two factors will do was decided when the neuron was made."""
    neuron = rl.SRM0()
    sharp = eqx.tree_at(lambda n: n.escape.width, neuron, jnp.asarray(0.01))
    assert neuron.has_moderate_kernel
    assert not rl.SRM0(escape=rl.ExponentialEscape(width=0.01)).has_moderate_kernel
    ones = np.ones((3, 1))
    network = rl.Network([rl.Layer(neuron, ones, ones)])

    def run(width):
        edited = eqx.tree_at(lambda n: n.layers[0].neuron.escape.width, network, width)
        grid, zeros = rl.TimeGrid(DT, 5), jnp.zeros((5, 1))
        return rl.simulate(edited, zeros, grid, rl.GeneralisedRate()).succeeded

    with pytest.raises(ValueError, match="must keep the ratio"):
        run(sharp.escape.width)
    succeeded = jax.jit(jax.vmap(run))(jnp.asarray([1.0, 0.01]))
    np.testing.assert_array_equal(succeeded[:, 0], [True, False])


def test_a_neuron_made_within_jit_is_the_one_made_outside():
    """Of numbers that are known; or networks that a study draws would take the slower way, and other last bits."""
    made = []

    @jax.jit
    def make(width):
        table = rl.SRM0(refractory=rl.TableRefractory([-3.0, 0.0], 5e-3))
        made.extend([rl.SRM0(), rl.SRM0(refractory=rl.NoRefractory()), table])
        made.append(rl.SRM0(escape=rl.ExponentialEscape(width=width)))
        return width

    make(1.0)
    assert [neuron.has_moderate_kernel for neuron in made] == [True] * 3 + [False]
