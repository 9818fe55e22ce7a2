"""Standard errors against the curvature of a likelihood in closed form."""

import equinox as eqx
import jax
import numpy as np
import pytest

import ratelike as rl

DT, STEPS, KEY = 1e-3, 400, jax.random.key(0)


def network_and_loss():
    """Memoryless neurons at constant potential: independent draws in each step."""
    neuron = rl.SRM0(
        escape=rl.ExponentialEscape(100.0, 0.0, 1.0), refractory=rl.NoRefractory()
    )
    fired = np.random.default_rng(0).random((STEPS, 2)) < 0.2
    # The minimum: the chance to fire is the share of steps with a spike. (An exact one, up to the last digits.)
    bias = np.log(-np.log1p(-fired.mean(axis=0)) / (DT * 100.0))
    layer = rl.Layer(neuron, None, np.ones((2, 1)), bias)
    grid = rl.TimeGrid(DT, STEPS)

    def loss(network, key):
        return -rl.log_likelihood(network.layers[0], None, fired, grid).sum()

    return rl.Network([layer]), loss, fired.sum(axis=0)


def test_they_are_the_curvature_in_closed_form():
    network, loss, counts = network_and_loss()

    def errors(where):
        return rl.train.standard_errors(network, loss, where=where, key=KEY)

    x = (
        DT * 100.0 * np.exp(network.layers[0].bias)
    )  # of each step; by the bias dx = x db
    curvature = (STEPS - counts) * x
    curvature += counts * x * (x * np.exp(x) - np.expm1(x)) / np.expm1(x) ** 2
    result = errors(lambda n: n.layers[0].bias)
    layer = result.network.layers[0]
    np.testing.assert_allclose(layer.bias, curvature**-0.5, rtol=1e-8)
    np.testing.assert_allclose(result.covariance[0, 1], 0.0, atol=1e-12)
    assert np.isnan(layer.decoder).all()
    assert np.isnan(layer.neuron.tau_m)
    part = errors(lambda n: rl.train.Part(n.layers[0].bias, 1))
    bias = part.network.layers[0].bias
    np.testing.assert_allclose(bias[1], curvature[1] ** -0.5, rtol=1e-8)
    assert np.isnan(bias[0])


@pytest.mark.slow
def test_what_has_no_standard_error_is_told():
    network, loss, _ = network_and_loss()

    def where(network):
        escape = network.layers[0].neuron.escape
        return [
            rl.train.Positive(escape.rate),
            rl.train.Unconstrained(escape.threshold),
        ]

    with pytest.raises(RuntimeError, match=r"rate.*threshold|threshold.*rate"):
        rl.train.standard_errors(network, loss, where=where, key=KEY)
    away = eqx.tree_at(lambda n: n.layers[0].bias, network, replace_fn=lambda b: b + 1)
    with pytest.raises(RuntimeError, match="standard errors away"):
        rl.train.standard_errors(away, loss, where=lambda n: n.layers[0].bias, key=KEY)
    with pytest.raises(ValueError, match="FixedSum"):
        rl.train.standard_errors(
            network,
            loss,
            where=lambda n: rl.train.FixedSum(n.layers[0].bias),
            key=KEY,
        )
