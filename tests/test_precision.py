"""From end to end in float32 and in float64: results keep the network's type, and agree."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ratelike as rl

GRID = rl.TimeGrid(1e-3, 60)
KEY = jax.random.key(0)


def make_network(size, key):
    return rl.relay_network(
        rl.SRM0(), num_neurons=size, num_latents=2, depth=1, key=key
    )


NETWORK = make_network(64, KEY)
INCREMENTS = rl.WienerDrive(2, key=jax.random.key(1)).increments(GRID)


def cast(network, dtype):
    return jax.tree.map(lambda leaf: leaf.astype(dtype), network)


def simulate(dynamics):
    def run(dtype):
        network = cast(NETWORK, dtype)
        return rl.simulate(network, INCREMENTS, GRID, dynamics, key=KEY).outputs

    return run


def expected_error(dtype):
    return rl.expected_error(cast(NETWORK, dtype), INCREMENTS, GRID, burn_in=10)


def fitted_biases(dtype):
    def loss(network, key):
        run = rl.simulate(network, INCREMENTS, GRID, rl.GeneralisedRate())
        return jnp.mean(run.rates)

    return (
        rl.fit(
            cast(NETWORK, dtype),
            loss,
            where=lambda network: network.layers[0].bias,
            optimiser=optax.sgd(0.1),
            num_steps=2,
            key=KEY,
        )
        .network.layers[0]
        .bias
    )


class Rounded(rl.extend.AbstractDrive):
    """The same path in another type: a drive of that type would be another path."""

    drive: rl.WienerDrive
    dtype: jnp.dtype = eqx.field(static=True)

    def increments(self, grid):
        return self.drive.increments(grid).astype(self.dtype)


def errors_over_sizes(dtype):
    study = rl.convergence(
        lambda size, key: cast(make_network(size, key), dtype),
        [64],
        GRID,
        num_trials=2,
        key=KEY,
        make_drive=lambda network, key: Rounded(rl.WienerDrive(2, key=key), dtype),
    )
    return study.generalised.values[0]


@pytest.mark.parametrize(
    "run",
    [
        simulate(rl.Spiking()),
        simulate(rl.GeneralisedRate()),
        simulate(rl.ConventionalRate()),
        expected_error,
        fitted_biases,
        pytest.param(errors_over_sizes, marks=pytest.mark.slow),
    ],
    ids=[
        "spiking",
        "generalised",
        "conventional",
        "expected_error",
        "fit",
        "convergence",
    ],
)
def test_float32_and_float64_agree(run):
    single, double = run(jnp.float32), run(jnp.float64)
    assert (single.dtype, double.dtype) == (jnp.float32, jnp.float64)
    # Rounding of h (10^-7, e-folds of the rate) and of the polynomial for p (10^-6): 10^-5 of numbers of order 1. No
    # hazard here is so near its threshold that a spike moves.
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4)
    assert np.abs(np.asarray(double)).max() > 1e-2
