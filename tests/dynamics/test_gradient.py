"""Gradients against central differences in float64, reverse against forward mode, and finite when saturated.

Central differences of relative step 10^-5 carry an error of about 10^-8 (rounding 10^-16 / 10^-5 and step^2, over the
size of the slope); the tolerance of 10^-5 is the project's.
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ratelike as rl

NUM_STEPS, LATENTS, NEURONS = 40, 2, 5
GRID = rl.TimeGrid(1e-3, NUM_STEPS)
NAMES = [
    "encoder",
    "decoder",
    "bias",
    "tau_m",
    "rate",
    "threshold",
    "width",
    "amplitude",
    "tau",
    "increments",
]


def parameters(dtype=jnp.float64):
    generator = np.random.default_rng(0)
    shape = (NEURONS, LATENTS)
    values = dict(
        encoder=generator.normal(size=shape),
        decoder=generator.normal(size=shape),
        bias=1.0 + generator.normal(size=NEURONS),
        tau_m=generator.uniform(5e-3, 15e-3, NEURONS),
        rate=np.asarray(30.0),
        threshold=0.3 * generator.normal(size=NEURONS),
        width=np.asarray(1.2),
        amplitude=generator.uniform(2.0, 4.0, NEURONS),
        tau=np.asarray(6e-3),
        increments=0.01 * generator.normal(size=(NUM_STEPS, LATENTS)),
    )
    return {name: jnp.asarray(value, dtype) for name, value in values.items()}


def network(values, depth):
    neuron = rl.SRM0(
        values["tau_m"],
        rl.ExponentialEscape(values["rate"], values["threshold"], values["width"]),
        rl.ExponentialRefractory(values["amplitude"], values["tau"], 2e-3, 12e-3),
    )
    layer = rl.Layer(neuron, values["encoder"], values["decoder"], values["bias"])
    return rl.Network([layer] * depth)


def target(dtype=jnp.float64):
    values = 0.1 * np.random.default_rng(1).normal(size=(NUM_STEPS, LATENTS))
    return jnp.asarray(values, dtype)


def of_outputs(values, dynamics=None):
    """A function of everything that `simulate` returns."""
    dynamics = rl.GeneralisedRate() if dynamics is None else dynamics
    run = rl.simulate(network(values, 2), values["increments"], GRID, dynamics)
    return jnp.mean((run.outputs - target(run.outputs.dtype)) ** 2) + 1e-3 * jnp.mean(
        run.rates**2
    )


def of_outputs_forward(values):
    return of_outputs(values, rl.GeneralisedRate(adjoint=diffrax.ForwardMode()))


def rate_loss(values, dynamics=None):
    return rl.rate_loss(
        network(values, 1),
        values["increments"],
        GRID,
        target(),
        burn_in=5,
        dynamics=dynamics,
    )


def rate_loss_forward(values):
    return rate_loss(values, rl.GeneralisedRate(adjoint=diffrax.ForwardMode()))


def variance(values):
    layer = network(values, 1).layers[0]
    covariance = rl.readout_covariance(layer, values["increments"], GRID)
    weights = jnp.asarray(1.0 + np.random.default_rng(2).random(covariance.shape))
    return jnp.mean(weights.astype(covariance.dtype) * covariance)


def expected_error(values):
    return rl.expected_error(
        network(values, 2),
        values["increments"],
        GRID,
        burn_in=5,
        num_probes=1,
        key=jax.random.key(0),
    )


def expected_spiking_loss(values):
    return rl.expected_spiking_loss(
        network(values, 1), values["increments"], GRID, target(), burn_in=5
    )


FUNCTIONS = dict(
    of_outputs=(of_outputs, of_outputs_forward),
    rate_loss=(rate_loss, rate_loss_forward),
    readout_covariance=(variance, variance),
    expected_error=(expected_error, expected_error),
    expected_spiking_loss=(expected_spiking_loss, expected_spiking_loss),
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_by_every_parameter_against_central_differences_and_forward_mode(name):
    """Along one random direction for each parameter, encoder to drive."""
    function, forward = FUNCTIONS[name]
    values = parameters()
    generator = np.random.default_rng(3)
    evaluate = jax.jit(jax.value_and_grad(function))
    _, gradient = evaluate(values)
    tangent_of = jax.jit(lambda v, t: jax.jvp(forward, (v,), (t,))[1])
    for parameter in NAMES:
        value = values[parameter]
        direction = jnp.asarray(generator.normal(size=value.shape)) * (
            jnp.abs(value).mean() + 1e-3
        )
        along = float(jnp.vdot(gradient[parameter], direction))
        tangents = jax.tree.map(jnp.zeros_like, values) | {parameter: direction}
        np.testing.assert_allclose(
            along, tangent_of(values, tangents), rtol=1e-9, err_msg=parameter
        )
        step = 1e-5
        ends = [
            float(evaluate(values | {parameter: value + sign * step * direction})[0])
            for sign in (1.0, -1.0)
        ]
        central = (ends[0] - ends[1]) / (2.0 * step)
        assert abs(central) > 0.0
        np.testing.assert_allclose(along, central, rtol=1e-5, err_msg=parameter)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", ["of_outputs", "expected_error"])
def test_finite_under_saturation(name, dtype):
    """From neurons that never fire to neurons that fire whenever they may."""
    values = parameters(dtype)
    values["bias"] = jnp.asarray([-1e4, -90.0, 20.0, 100.0, 1e4], dtype)
    value, gradient = jax.jit(jax.value_and_grad(FUNCTIONS[name][0]))(values)
    assert bool(jnp.isfinite(value))
    for parameter, slope in gradient.items():
        assert bool(jnp.isfinite(slope).all()), parameter
